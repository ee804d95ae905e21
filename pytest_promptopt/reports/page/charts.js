// Small drawings: an interval on a line from 0 to 100 %, and the pass rate over the iterations of a search.

function intervalBar(rate, ends, least, held, width = 190) {
  if (rate === null || rate === undefined) return el("span", { class: "soft" }, "–");
  const x = (share) => 5 + share * (width - 10);
  const told = `${percent(rate)}, 95 % interval ${percent(ends[0])} to ${percent(ends[1])}` +
    (least === null || least === undefined ? "" : `, ${percent(least)} required`);
  return svg("svg", { width, height: 18, viewBox: `0 0 ${width} 18`, role: "img", "aria-label": told },
    svg("title", null, told),
    svg("line", { class: "track", x1: x(0), x2: x(1), y1: 9, y2: 9 }),
    svg("rect", { class: "band", x: x(ends[0]), y: 4, width: Math.max(1, x(ends[1]) - x(ends[0])), height: 10, rx: 3 }),
    least === null || least === undefined ? null
      : svg("line", { class: "limit" + (held === false ? " failed" : ""), x1: x(least), x2: x(least), y1: 0, y2: 18 }),
    svg("circle", { class: "point", cx: x(rate), cy: 9, r: 4 }));
}

// Every candidate is a dot, the best text so far is the line.
function rateChart(iterations, original) {
  const width = 720, height = 230, left = 42, right = 34, top = 12, bottom = 28;
  const last = Math.max(1, ...iterations.map((each) => each.number));
  const x = (number) => left + (number / last) * (width - left - right);
  const y = (rate) => top + (1 - rate) * (height - top - bottom);
  const parts = [];
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(svg("line", { class: "axis", x1: left, x2: width - right, y1: y(share), y2: y(share) }));
    parts.push(svg("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, `${share * 100}%`));
  }
  const step = Math.ceil(last / 12);
  for (let number = 0; number <= last; number += step) {
    parts.push(svg("text", { x: x(number), y: height - 8, "text-anchor": "middle" }, number ? String(number) : "start"));
  }
  // Training and validation cases are not the same cases: each phase has a line of its own.
  let points = [], phase = null;
  const draw = () => { if (points.length > 1) parts.push(svg("polyline", { class: "best", points: points.map((p) => p.join(",")).join(" ") })); };
  for (const each of iterations) {
    if (each.phase !== phase) {
      draw();
      const first = each.before === null ? original : each.before;
      points = first === null || first === undefined ? [] : [[x(each.number - 1), y(first)]];
      phase = each.phase;
    }
    points.push([x(each.number), y(each.best)]);
  }
  draw();
  for (const each of iterations) {
    const measured = each.candidates.filter((candidate) => candidate.rate !== null);
    measured.forEach((candidate, place) => {
      const aside = (place - (measured.length - 1) / 2) * Math.min(7, (x(1) - x(0)) / (measured.length + 1));
      parts.push(svg("circle", { class: "dot " + candidate.verdict, cx: x(each.number) + aside, cy: y(candidate.rate), r: 4 },
        svg("title", null, `${candidate.id}: ${percent(candidate.rate)} on ${candidate.split}, ${candidate.verdict}`)));
    });
  }
  return el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "pass rate by iteration" },
    svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Pass rate of the best text and of each candidate, by iteration" }, parts),
    el("div", { class: "legend" },
      el("span", null, el("b", { class: "best" }, "—"), " best text, by phase"),
      el("span", null, el("b", { class: "accepted" }, "●"), " accepted"),
      el("span", null, el("b", { class: "rejected" }, "●"), " rejected")));
}
