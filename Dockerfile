# docker build -t vtnstream .
# docker run --rm -v "$PWD:/work" vtnstream timeline movie.mkv
# docker run --rm -p 8090:8090 -e VTNSTREAM_STUDIO_TOKEN=secret -v "$PWD:/work" vtnstream \
#     studio results --videos recordings --host 0.0.0.0 --no-browser
FROM python:3.12-slim
RUN useradd --create-home vtnstream
COPY pyproject.toml README.md LICENSE CHANGELOG.md /src/
COPY vtnstream /src/vtnstream
COPY configs /src/configs
RUN pip install --no-cache-dir "/src[studio,backbone]" && rm -rf /src
USER vtnstream
# Features are kept here: mount a volume to keep them for the next container.
ENV VTNSTREAM_CACHE_DIR=/home/vtnstream/.cache/vtnstream
WORKDIR /work
EXPOSE 8090
# The studio answers; commands that serve nothing count as healthy, because they are not asked.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-m", "vtnstream.studio.web.health"]
ENTRYPOINT ["vtnstream"]
