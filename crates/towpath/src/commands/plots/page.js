"use strict";
(() => {
  const plots = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("plots");
  const WIDTH = 480, HEIGHT = 320, LEFT = 56, RIGHT = 12, TOP = 10, BOTTOM = 40;
  const DASHES = ["", "8 8", "8 4", "4 4", "4 2", "2 1", "1 1"];

  const html = (name, properties, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const svg = (name, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const number = (value) => (value === null || value === "" || value === undefined ? NaN : Number(value));
  const short = (value) =>
    typeof value === "number" && Number.isFinite(value) ? String(Number(value.toPrecision(6))) : String(value);

  // Round steps of 1, 2 and 5.
  const ticks = (low, high, count) => {
    const span = high - low || 1;
    const raw = span / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((m) => m * power >= raw) * power;
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
    return found;
  };
  const extent = (values) => {
    const finite = values.filter(Number.isFinite);
    if (!finite.length) return [0, 1];
    const low = finite.reduce((a, b) => Math.min(a, b)), high = finite.reduce((a, b) => Math.max(a, b));
    return low === high ? [low - 0.5, high + 0.5] : [low, high];
  };

  // Each revision has a colour, each source of y a dash.
  const seriesOf = (chart) => {
    const sources = [], series = new Map();
    for (const row of chart.rows) {
      const source = chart.many ? [row.filename, row.field].filter(Boolean).join("::") : "";
      if (!sources.includes(source)) sources.push(source);
      const name = source ? `${row.rev} ${source}` : row.rev;
      if (!series.has(name)) {
        series.set(name, {
          name, rows: [], shown: true, revision: row.rev, source,
          color: chart.colors[chart.revisions.indexOf(row.rev) % chart.colors.length],
          dash: DASHES[sources.indexOf(source) % DASHES.length],
        });
      }
      series.get(name).rows.push(row);
    }
    return [...series.values()];
  };

  const legend = (series, redraw) =>
    html("ul", { className: "legend" }, ...series.map((one) => {
      const swatch = html("i", {});
      swatch.style.background = one.color;
      const button = html("button", { type: "button" }, swatch, one.name);
      button.setAttribute("aria-pressed", "true");
      button.onclick = () => {
        one.shown = !one.shown;
        button.setAttribute("aria-pressed", String(one.shown));
        redraw();
      };
      return html("li", {}, button);
    }));

  // A weighted mean of the neighbours; `width` is a share of all points.
  const smoothed = (points, width) => {
    const reach = Math.max(1, points.length * width / 2);
    if (width <= 0.001) return points;
    return points.map((point, at) => {
      let sum = 0, weights = 0;
      for (let i = Math.max(0, Math.ceil(at - reach)); i <= Math.min(points.length - 1, at + reach); i++) {
        const weight = (1 - Math.abs(((i - at) / (reach + 1)) ** 3)) ** 3;
        if (Number.isFinite(points[i].y)) { sum += weight * points[i].y; weights += weight; }
      }
      return { ...point, y: weights ? sum / weights : point.y };
    });
  };

  // Lines and points over two axes of numbers; texts on x are taken one after the other.
  const cartesian = (chart, figure) => {
    const series = seriesOf(chart);
    const words = chart.rows.some((row) => !Number.isFinite(number(row[chart.x])));
    const names = words ? [...new Set(chart.rows.map((row) => String(row[chart.x])))] : [];
    for (const one of series) {
      one.points = one.rows.map((row) => ({
        x: words ? names.indexOf(String(row[chart.x])) : number(row[chart.x]), y: number(row[chart.y]), row,
      })).filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y));
      if (chart.mark === "line") one.points.sort((a, b) => a.x - b.x);
    }
    let view = null, smoothing = 0, logarithmic = false;
    const height = (y) => (logarithmic ? Math.log10(y) : y);
    const whole = () => {
      const points = series.filter((one) => one.shown).flatMap((one) => one.points);
      return { x: extent(points.map((p) => p.x)), y: extent(points.map((p) => height(p.y))) };
    };
    const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": chart.title });
    const tip = html("div", { className: "tip", hidden: true });
    const clip = `clip-${Math.random().toString(36).slice(2)}`;
    const toX = (x) => LEFT + ((x - view.x[0]) / (view.x[1] - view.x[0])) * (WIDTH - LEFT - RIGHT);
    const toY = (y) => HEIGHT - BOTTOM - ((height(y) - view.y[0]) / (view.y[1] - view.y[0])) * (HEIGHT - TOP - BOTTOM);

    const draw = () => {
      view = view || whole();
      drawing.replaceChildren(svg("clipPath", { id: clip },
        svg("rect", { x: LEFT, y: TOP, width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM })));
      for (const at of ticks(...view.y, 5)) {
        const y = HEIGHT - BOTTOM - ((at - view.y[0]) / (view.y[1] - view.y[0])) * (HEIGHT - TOP - BOTTOM);
        drawing.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }),
          svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, short(logarithmic ? 10 ** at : at)));
      }
      for (const at of ticks(...view.x, 6)) {
        if (words && names[at] === undefined) continue;
        drawing.append(svg("text", { x: toX(at), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, words ? names[at] : short(at)));
      }
      drawing.append(svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, chart.xLabel || ""),
        svg("text", { x: -(HEIGHT - BOTTOM) / 2, y: 12, transform: "rotate(-90)", "text-anchor": "middle" }, chart.yLabel || ""));
      const inside = svg("g", { "clip-path": `url(#${clip})` });
      for (const one of series.filter((one) => one.shown)) {
        if (chart.mark === "point") {
          for (const point of one.points) inside.append(svg("circle", { cx: toX(point.x), cy: toY(point.y), r: 3.5, fill: one.color, "fill-opacity": 0.7 }));
          continue;
        }
        const path = (points) => points.map((p, i) => `${i ? "L" : "M"}${toX(p.x).toFixed(2)} ${toY(p.y).toFixed(2)}`).join("");
        const line = { fill: "none", stroke: one.color, "stroke-width": 1.8, "stroke-dasharray": one.dash };
        if (smoothing) inside.append(svg("path", { ...line, d: path(one.points), "stroke-opacity": 0.25 }));
        inside.append(svg("path", { ...line, d: path(smoothed(one.points, smoothing)) }));
        if (one.points.length === 1) inside.append(svg("circle", { cx: toX(one.points[0].x), cy: toY(one.points[0].y), r: 3, fill: one.color }));
      }
      drawing.append(inside);
    };

    const place = (event) => {
      const box = drawing.getBoundingClientRect();
      return { x: ((event.clientX - box.left) / box.width) * WIDTH, y: ((event.clientY - box.top) / box.height) * HEIGHT };
    };
    const nearest = (one, at) => one.points.reduce((best, point) => {
      const off = chart.mark === "point" ? Math.hypot(toX(point.x) - at.x, toY(point.y) - at.y) : Math.abs(toX(point.x) - at.x);
      return !best || off < best.off ? { off, point } : best;
    }, null);
    let dragged = null;
    drawing.onpointerdown = (event) => { dragged = { at: place(event), view: structuredClone(view) }; drawing.setPointerCapture(event.pointerId); };
    drawing.onpointerup = () => { dragged = null; };
    drawing.onpointermove = (event) => {
      const at = place(event);
      if (dragged) {
        const moved = (axis, pixels, span) => dragged.view[axis].map((v) => v + (pixels / span) * (dragged.view[axis][1] - dragged.view[axis][0]));
        view = { x: moved("x", dragged.at.x - at.x, WIDTH - LEFT - RIGHT), y: moved("y", at.y - dragged.at.y, HEIGHT - TOP - BOTTOM) };
      }
      draw();
      const found = series.filter((one) => one.shown).map((one) => ({ one, ...nearest(one, at) })).filter((f) => f.point);
      const close = Math.min(...found.map((f) => f.off));
      const told = chart.mark === "point" ? found.filter((f) => f.off === close) : found.filter((f) => f.off < close + 1e-6 || f.off < 8);
      tip.hidden = !told.length || close > 40;
      if (tip.hidden) return;
      if (chart.mark === "line") drawing.append(svg("line", { class: "cross", x1: toX(told[0].point.x), x2: toX(told[0].point.x), y1: TOP, y2: HEIGHT - BOTTOM }));
      for (const { one, point } of told) drawing.append(svg("circle", { cx: toX(point.x), cy: toY(point.y), r: 4, fill: one.color }));
      tip.textContent = [`${chart.xLabel || chart.x}: ${words ? names[told[0].point.x] : short(told[0].point.x)}`,
        ...told.map(({ one, point }) => `${one.name}: ${short(point.y)}`)].join("\n");
      const box = figure.getBoundingClientRect();
      tip.style.left = `${Math.min(event.clientX - box.left + 12, box.width - 160)}px`;
      tip.style.top = `${event.clientY - box.top + 12}px`;
    };
    drawing.onpointerleave = () => { tip.hidden = true; draw(); };
    drawing.ondblclick = () => { view = null; draw(); };
    drawing.addEventListener("wheel", (event) => {
      event.preventDefault();
      const at = place(event), factor = event.deltaY > 0 ? 1.15 : 1 / 1.15;
      const zoom = ([low, high], share) => { const mid = low + share * (high - low); return [mid - (mid - low) * factor, mid + (high - mid) * factor]; };
      view = {
        x: zoom(view.x, (at.x - LEFT) / (WIDTH - LEFT - RIGHT)),
        y: zoom(view.y, (HEIGHT - BOTTOM - at.y) / (HEIGHT - TOP - BOTTOM)),
      };
      draw();
    }, { passive: false });

    const tools = html("div", { className: "tools" });
    if (chart.mark === "line") {
      const slider = html("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, ariaLabel: "Smoothing" });
      slider.oninput = () => { smoothing = Number(slider.value); draw(); };
      tools.append(html("label", {}, "Smoothing ", slider));
    }
    if (series.every((one) => one.points.every((point) => point.y > 0))) {
      const box = html("input", { type: "checkbox" });
      box.onchange = () => { logarithmic = box.checked; view = null; draw(); };
      tools.append(html("label", {}, box, " logarithmic"));
    }
    figure.append(legend(series, () => { view = null; draw(); }), drawing, tip, tools);
    draw();
  };

  const bars = (chart, figure) => {
    const series = seriesOf(chart);
    const drawing = svg("svg", { role: "img", "aria-label": chart.title });
    const draw = () => {
      const shown = series.filter((one) => one.shown);
      let names = [...new Set(chart.rows.map((row) => String(row[chart.y])))];
      if (chart.sorted) {
        const largest = (name) => Math.max(...chart.rows.filter((row) => String(row[chart.y]) === name).map((row) => number(row[chart.x])));
        names = names.map((name) => [name, largest(name)]).sort((a, b) => b[1] - a[1]).map(([name]) => name);
      }
      const [low, high] = extent([0, ...chart.rows.map((row) => number(row[chart.x]))]);
      const bar = 12, band = Math.max(1, shown.length) * bar + 8, left = 120, tall = names.length * band + BOTTOM;
      const toX = (x) => left + ((x - low) / (high - low)) * (WIDTH - left - 48);
      drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${tall}`);
      drawing.replaceChildren();
      names.forEach((name, at) => {
        drawing.append(svg("text", { x: left - 6, y: at * band + band / 2 + 4, "text-anchor": "end" }, name));
        shown.forEach((one, i) => {
          const row = one.rows.find((row) => String(row[chart.y]) === name);
          const value = row ? number(row[chart.x]) : NaN;
          if (!Number.isFinite(value)) return;
          const y = at * band + 4 + i * bar, from = toX(Math.min(0, value)), to = toX(Math.max(0, value));
          drawing.append(svg("rect", { x: from, y, width: Math.max(0.5, to - from), height: bar - 2, rx: 2, fill: one.color },
            svg("title", {}, `${one.name}, ${name}: ${short(value)}`)),
          svg("text", { x: to + 4, y: y + bar - 3 }, short(value)));
        });
      });
      drawing.append(svg("text", { x: (left + WIDTH) / 2, y: tall - 10, "text-anchor": "middle" }, chart.xLabel || ""));
    };
    figure.append(legend(series, draw), drawing);
    draw();
  };

  const matrix = (chart, figure) => {
    const columns = [...new Set(chart.rows.map((row) => String(row[chart.x])))].sort();
    const lines = [...new Set(chart.rows.map((row) => String(row[chart.y])))].sort();
    for (const one of seriesOf(chart)) {
      const counts = new Map();
      const key = (y, x) => JSON.stringify([y, x]);
      for (const row of one.rows) {
        const at = key(String(row[chart.y]), String(row[chart.x]));
        counts.set(at, (counts.get(at) || 0) + 1);
      }
      const count = (y, x) => counts.get(key(y, x)) || 0;
      const total = (y) => columns.reduce((sum, x) => sum + count(y, x), 0);
      const value = (y, x) => (chart.shares ? (total(y) ? count(y, x) / total(y) : 0) : count(y, x));
      const largest = chart.shares ? 1 : Math.max(1, ...counts.values());
      const left = 90, cell = Math.min(64, (WIDTH - left) / columns.length), tall = lines.length * cell + BOTTOM + 16;
      const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${tall}`, role: "img", "aria-label": `${chart.title} ${one.name}` });
      lines.forEach((y, row) => {
        drawing.append(svg("text", { x: left - 6, y: row * cell + cell / 2 + 4, "text-anchor": "end" }, y));
        columns.forEach((x, column) => {
          const share = value(y, x) / largest, said = chart.shares ? value(y, x).toFixed(2) : String(value(y, x));
          const text = svg("text", { x: left + column * cell + cell / 2, y: row * cell + cell / 2 + 4, "text-anchor": "middle" }, said);
          text.style.fill = share > 0.5 ? "#fff" : "var(--ink)";
          drawing.append(svg("rect", { x: left + column * cell, y: row * cell, width: cell - 1, height: cell - 1, fill: one.color, "fill-opacity": 0.06 + 0.94 * share },
            svg("title", {}, `${chart.yLabel || chart.y} ${y}, ${chart.xLabel || chart.x} ${x}: ${said}`)), text);
        });
      });
      columns.forEach((x, column) => drawing.append(svg("text", { x: left + column * cell + cell / 2, y: lines.length * cell + 14, "text-anchor": "middle" }, x)));
      drawing.append(svg("text", { x: left, y: tall - 8 }, `${chart.xLabel || chart.x} across, ${chart.yLabel || chart.y} down`));
      figure.append(html("div", {}, one.name), drawing);
    }
  };

  for (const plot of plots) {
    const figure = html("figure", {}, html("h2", {}, plot.chart ? plot.chart.title : plot.name));
    if (plot.chart) ({ matrix, bar: bars }[plot.chart.mark] || cartesian)(plot.chart, figure);
    if (plot.pictures) {
      figure.append(html("div", { className: "pictures" }, ...plot.pictures.map((picture) =>
        html("figure", {}, html("figcaption", {}, picture.revision), html("img", { src: picture.src, alt: `${plot.name} of ${picture.revision}` })))));
    }
    for (const failure of plot.failures) figure.append(html("p", { className: "failure" }, failure));
    main.append(figure);
  }
})();
