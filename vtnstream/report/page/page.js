(() => {
  "use strict";
  const page = document.documentElement;
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const video = one("video"), now = one("now"), rows = one("rows"), scroll = one("scroll");
  const table = one("segments"), body = table && table.tBodies[0];
  page.classList.add("scripted");
  all("button[disabled]").forEach((button) => { button.disabled = false; });

  // Segments as the table has them; those of the timeline by number.
  const segments = body ? [...body.rows].map((row, index) => ({
    row,
    index,
    start: Number(row.dataset.start),
    end: Number(row.dataset.end),
    label: row.dataset.label,
    name: row.dataset.name,
    shape: document.querySelector(`.segment[data-segment="${index + 1}"]`),
  })) : [];
  let chosen = null;

  const say = (text) => { if (now && !now.classList.contains("failed")) now.textContent = text; };

  function choose(segment) {
    for (const s of [chosen, segment]) {
      if (!s) continue;
      s.row.classList.toggle("chosen", s === segment);
      if (s.shape) s.shape.classList.toggle("chosen", s === segment);
    }
    chosen = segment;
    if (!segment) return;
    // With a player the page stays where it is: the picture is what is looked at.
    if (!video) segment.row.scrollIntoView({ block: "nearest" });
    showTime((segment.start + segment.end) / 2);
    say(`${clock(segment.start)} – ${clock(segment.end)}  ${segment.name}`);
    if (!video) return;
    follow();
    video.currentTime = insideOf(segment);
  }

  // ------------------------------------------------------------------ timeline and zoom
  const ticks = one("ticks");
  const from = rows ? Number(rows.dataset.start) : 0, to = rows ? Number(rows.dataset.end) : 0;
  let zoom = 1;

  const place = (seconds) => (seconds - from) / (to - from);
  function track() {
    const inner = ticks.getBoundingClientRect(), outer = rows.getBoundingClientRect();
    return { left: inner.left - outer.left, width: inner.width };
  }
  function showTime(seconds) {
    if (!scroll || scroll.scrollWidth <= scroll.clientWidth) return;
    const { left, width } = track();
    const names = Math.min(left, scroll.clientWidth / 2);
    const at = left + place(seconds) * width;
    if (at - scroll.scrollLeft < names + 20 || at - scroll.scrollLeft > scroll.clientWidth - 20) {
      scroll.scrollLeft = at - (scroll.clientWidth + names) / 2;
    }
  }
  function drawTicks() {
    const { width } = track(), svg = "http://www.w3.org/2000/svg";
    const room = (to >= 3600 ? 72 : 52) + (zoom > 8 ? 12 : 0);
    const step = tickStep((to - from) / width, room);
    const group = document.createDocumentFragment();
    for (let n = Math.ceil(from / step - 1e-9); n * step <= to; n += 1) {
      const time = n * step, x = `${100 * place(time)}%`;
      if (place(time) * width > width - 30) break;
      const line = document.createElementNS(svg, "line"), text = document.createElementNS(svg, "text");
      for (const [key, value] of [["x1", x], ["x2", x], ["y1", 0], ["y2", 6]]) line.setAttribute(key, value);
      for (const [key, value] of [["x", x], ["dx", 3], ["y", 14]]) text.setAttribute(key, value);
      text.textContent = clock(time, step < 1 ? 1 : 0);
      group.append(line, text);
    }
    ticks.replaceChildren(group);
  }
  function fitText() {
    const { width } = track();
    for (const { shape, start, end } of segments) {
      if (shape) shape.classList.toggle("tight", ((end - start) / (to - from)) * width < 40);
    }
  }
  function setZoom(value) {
    const before = track();
    const middle = (scroll.scrollLeft + scroll.clientWidth / 2 - before.left) / before.width;
    zoom = Math.min(256, Math.max(1, value));
    rows.style.width = `${100 * zoom}%`;
    const after = track();
    scroll.scrollLeft = middle * after.width + after.left - scroll.clientWidth / 2;
    if (chosen) showTime((chosen.start + chosen.end) / 2);
  }

  // ----------------------------------------------------------------------------- player
  const playhead = one("playhead");
  function drawPlayhead() {
    if (!video || !playhead || !video.duration) return;
    const { left, width } = track();
    const share = place(video.currentTime), at = left + share * width;
    const names = left < scroll.clientWidth / 2 ? left : 0;
    playhead.hidden = share < 0 || share > 1 || at - scroll.scrollLeft < names - 1;
    playhead.style.left = `${at}px`;
  }
  // Out of sight while it is used, the player follows into the corner.
  let inSight = true;
  function follow() {
    const player = video.parentElement;
    const away = !inSight && video.readyState > 0 && Boolean(chosen || !video.paused);
    if (away && !player.style.minHeight) player.style.minHeight = `${player.offsetHeight}px`;
    player.classList.toggle("floating", away);
    if (!away) player.style.minHeight = "";
  }
  if (video) {
    video.addEventListener("timeupdate", () => {
      drawPlayhead();
      const time = video.currentTime;
      const here = segments.filter((s) => s.start <= time && time < s.end).map((s) => s.name);
      if (time > 0) say(`${clock(time)}  ${here.slice(0, 4).join(", ") || "–"}`);
    });
    video.addEventListener("loadedmetadata", drawPlayhead);
    video.addEventListener("error", () => {
      now.textContent = "This browser cannot play the video: open it in a player. The times are the same there.";
      now.classList.add("failed");
    });
    if (video.error) video.dispatchEvent(new Event("error"));
    video.addEventListener("play", follow);
    new IntersectionObserver(([entry]) => {
      inSight = entry.isIntersecting;
      follow();
    }).observe(video.parentElement);
  }

  // ---------------------------------------------------------------------- filter and sort
  const filter = one("filter"), count = one("count"), chips = all(".chip");
  const shown = (segment) => !segment.row.hidden;
  function applyFilter() {
    const text = filter.value.trim().toLowerCase();
    const off = new Set(chips.filter((c) => c.getAttribute("aria-pressed") === "false").map((c) => c.dataset.label));
    let number = 0;
    for (const segment of segments) {
      const hide = off.has(segment.label) || !segment.name.toLowerCase().includes(text);
      segment.row.hidden = hide;
      if (segment.shape) segment.shape.classList.toggle("off", hide);
      number += hide ? 0 : 1;
    }
    count.textContent = number === segments.length ? `${number}` : `${number} of ${segments.length}`;
  }
  function sortBy(button) {
    const head = button.closest("th"), key = button.dataset.sort;
    const up = head.getAttribute("aria-sort") !== "ascending";
    all("th", table).forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const textual = key === "label" || key === "track";
    const value = (s) => (textual ? s.row.dataset[key] : Number(s.row.dataset[key]));
    const compare = (a, b) => (textual ? value(a).localeCompare(value(b)) : value(a) - value(b)) || a.start - b.start;
    const order = [...segments].sort(compare);
    body.append(...(up ? order : order.reverse()).map((s) => s.row));
  }

  // ------------------------------------------------------------------------------- wiring
  if (rows) {
    rows.addEventListener("click", (event) => {
      const shape = event.target.closest(".segment");
      if (shape) {
        event.preventDefault();
        choose(segments[Number(shape.dataset.segment) - 1]);
        return;
      }
      const strip = event.target.closest(".track");
      if (strip && video) {
        const box = strip.getBoundingClientRect();
        video.currentTime = from + ((event.clientX - box.left) / box.width) * (to - from);
      }
    });
    scroll.addEventListener("scroll", drawPlayhead, { passive: true });
    one("zoom-in").addEventListener("click", () => setZoom(zoom * 2));
    one("zoom-out").addEventListener("click", () => setZoom(zoom / 2));
    one("zoom-fit").addEventListener("click", () => setZoom(1));
    new ResizeObserver(() => { drawTicks(); fitText(); drawPlayhead(); }).observe(rows);
  }
  chips.forEach((chip) => chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") === "false"));
    applyFilter();
  }));
  if (table) {
    filter.addEventListener("input", applyFilter);
    all("[data-sort]", table).forEach((button) => button.addEventListener("click", () => sortBy(button)));
    body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (!row || String(getSelection())) return;
      event.preventDefault();
      choose(segments.find((s) => s.row === row));
    });
    applyFilter();
  }

  function step(direction) {
    const order = segments.filter(shown).sort((a, b) => a.start - b.start || a.index - b.index);
    if (!order.length) return;
    const at = order.indexOf(chosen);
    const next = at < 0 ? (direction > 0 ? 0 : order.length - 1) : at + direction;
    choose(order[Math.min(order.length - 1, Math.max(0, next))]);
  }
  const KEYS = {
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    "+": () => rows && setZoom(zoom * 2),
    "=": () => rows && setZoom(zoom * 2),
    "-": () => rows && setZoom(zoom / 2),
    0: () => rows && setZoom(1),
    "/": () => filter && filter.focus(),
    " ": () => video && (video.paused ? video.play() : video.pause()),
  };
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.key === "Escape" && target === filter) {
      filter.value = "";
      applyFilter();
      filter.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest("input, video, select, textarea")) return;
    if (event.key === " " && target.closest("button, a, summary")) return;
    const action = Object.hasOwn(KEYS, event.key) && KEYS[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });
})();
