# docker build -t vtnstream . && docker run --rm -v "$PWD:/work" vtnstream timeline movie.mkv
FROM python:3.12-slim
RUN useradd --create-home vtnstream
COPY pyproject.toml README.md LICENSE CHANGELOG.md /src/
COPY vtnstream /src/vtnstream
COPY configs /src/configs
RUN pip install --no-cache-dir /src && rm -rf /src
USER vtnstream
# Features are kept here: mount a volume to keep them for the next container.
ENV VTNSTREAM_CACHE_DIR=/home/vtnstream/.cache/vtnstream
WORKDIR /work
ENTRYPOINT ["vtnstream"]
