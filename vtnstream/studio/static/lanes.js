// Rows of the timeline, and how each is drawn on a canvas.
import { tickStep } from "/shared/times.js";

export const RULER = 22, SEGMENTS = 34, CURVE = 40, GAP = 6;
const MAX_ROWS = 24;

/** Segments that follow each other share a row; where they overlap, each label has its own. */
export function rowsOf(segments) {
  const tracks = new Map();
  for (const segment of segments) {
    const track = segment.track || "";
    if (!tracks.has(track)) tracks.set(track, []);
    tracks.get(track).push(segment);
  }
  const rows = [];
  for (const [name, mine] of tracks) {
    const overlap = mine.some((segment, k) => k && segment.start < mine[k - 1].end - 1e-6);
    if (!overlap) rows.push({ name, segments: mine });
    else rows.push(...rowsByLabel(name, mine));
  }
  return rows.length ? rows : [{ name: "", segments: [] }];
}

function rowsByLabel(track, segments) {
  const labels = new Map();
  for (const segment of segments) {
    if (!labels.has(segment.label)) labels.set(segment.label, []);
    labels.get(segment.label).push(segment);
  }
  const seconds = (mine) => mine.reduce((sum, s) => sum + s.end - s.start, 0);
  return [...labels]
    .sort((a, b) => seconds(b[1]) - seconds(a[1]))
    .slice(0, MAX_ROWS)
    .map(([label, mine]) => ({ name: track ? `${label} [${track}]` : label, segments: mine }));
}

/** Black or white, whichever reads better on a colour. */
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000000" : "#ffffff";
}

export function drawRuler(pen, view, theme, clock) {
  const room = view.end >= 3600 ? 76 : 58;
  const step = tickStep((view.to - view.from) / view.width, room);
  pen.fillStyle = theme.quiet;
  pen.strokeStyle = theme.line;
  pen.font = `11px ${theme.font}`;
  pen.textBaseline = "middle";
  for (let n = Math.ceil(view.from / step - 1e-9); n * step <= view.to; n += 1) {
    const x = Math.round(view.x(n * step)) + 0.5;
    pen.beginPath();
    pen.moveTo(x, RULER - 6);
    pen.lineTo(x, RULER);
    pen.stroke();
    if (x < view.width - 30) pen.fillText(clock(n * step, step < 1 ? 1 : 0), x + 3, RULER / 2);
  }
}

export function drawSegments(pen, view, theme, row, y, look) {
  pen.fillStyle = theme.rail;
  pen.fillRect(0, y, view.width, SEGMENTS);
  pen.font = `12px ${theme.font}`;
  pen.textBaseline = "middle";
  for (const segment of row.segments) {
    const { start, end } = look.bounds(segment);
    if (end < view.from || start > view.to) continue;
    const left = view.x(start), width = Math.max(1, view.x(end) - left);
    const color = look.color(segment);
    pen.globalAlpha = look.dim(segment) ? 0.25 : 1;
    pen.fillStyle = color;
    pen.fillRect(left, y, width > 3 ? width - 1 : width, SEGMENTS);
    if (segment.by === "person" && width > 3) {
      pen.fillStyle = inkOn(color);
      pen.fillRect(left + 3, y + SEGMENTS - 6, Math.max(1, width - 7), 3);
    }
    if (width > 34) drawLabel(pen, segment.label, left, y, width, inkOn(color));
    pen.globalAlpha = 1;
    if (look.chosen(segment)) outline(pen, theme, left, y, width);
  }
}

function drawLabel(pen, label, left, y, width, ink) {
  pen.save();
  pen.beginPath();
  pen.rect(left, y, width - 4, SEGMENTS);
  pen.clip();
  pen.fillStyle = ink;
  pen.fillText(label, Math.max(left, 0) + 6, y + SEGMENTS / 2);
  pen.restore();
}

function outline(pen, theme, left, y, width) {
  pen.lineWidth = 2.5;
  pen.strokeStyle = theme.ink;
  pen.strokeRect(left + 1, y + 1, Math.max(1, width - 3), SEGMENTS - 2);
  pen.fillStyle = theme.ink;
  if (width > 16) {
    pen.fillRect(left, y + 9, 4, SEGMENTS - 18);
    pen.fillRect(left + width - 5, y + 9, 4, SEGMENTS - 18);
  }
  pen.lineWidth = 1;
}

export function drawGaps(pen, view, theme, gaps, top, height) {
  pen.strokeStyle = theme.gap;
  for (const [start, end] of gaps) {
    const left = view.x(start), right = view.x(end);
    if (right < 0 || left > view.width) continue;
    pen.save();
    pen.beginPath();
    pen.rect(left, top, Math.max(2, right - left), height);
    pen.clip();
    pen.beginPath();
    for (let x = left - height; x < right; x += 7) {
      pen.moveTo(x, top + height);
      pen.lineTo(x + height, top);
    }
    pen.stroke();
    pen.restore();
  }
}

export function drawCurve(pen, view, theme, lane, y) {
  pen.fillStyle = theme.rail;
  pen.fillRect(0, y, view.width, CURVE);
  const step = (lane.end - lane.start) / lane.values.length;
  pen.strokeStyle = lane.color;
  pen.lineWidth = 1.5;
  pen.beginPath();
  const near = 200 + (step / (view.to - view.from)) * view.width; // a line comes from the point before
  let down = false;
  lane.values.forEach((value, k) => {
    const x = view.x(lane.start + (k + 0.5) * step);
    if (value === null || x < -near || x > view.width + near) {
      down = down && value !== null;
      if (value === null) down = false;
      return;
    }
    const height = y + CURVE - 3 - Math.min(1, value / lane.top) * (CURVE - 6);
    if (down) pen.lineTo(x, height);
    else pen.moveTo(x, height);
    down = true;
  });
  pen.stroke();
  pen.lineWidth = 1;
  pen.fillStyle = theme.ink;
  pen.font = `11px ${theme.font}`;
  pen.textBaseline = "top";
  pen.strokeStyle = theme.rail; // the name stays readable on the curve
  pen.lineWidth = 3;
  pen.strokeText(lane.name, 6, y + 4);
  pen.lineWidth = 1;
  pen.fillText(lane.name, 6, y + 4);
}

export function drawPlayhead(pen, view, theme, seconds, height, marks) {
  for (const mark of marks) {
    if (mark === null) continue;
    pen.fillStyle = theme.accent;
    pen.fillRect(view.x(mark) - 1, 0, 2, height);
  }
  pen.fillStyle = theme.ink;
  const x = view.x(seconds);
  pen.fillRect(x - 0.75, 0, 1.5, height);
  pen.beginPath();
  pen.moveTo(x - 5, 0);
  pen.lineTo(x + 5, 0);
  pen.lineTo(x, 7);
  pen.fill();
}
