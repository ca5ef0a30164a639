"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const narrow = window.matchMedia("(max-width: 640px)");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let following = false;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Replace every name of a colour variable by what it is in the scheme of the moment.
  const coloured = (part) => {
    if (typeof part === "string") return part.startsWith("--") ? colour(part) : part;
    if (Array.isArray(part)) return part.map(coloured);
    if (part && typeof part === "object") return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, coloured(value)]));
    return part;
  };

  const second = 1000;
  const times = [
    { dtickrange: [null, second], value: "%H:%M:%S.%L\n%Y-%m-%d" },
    { dtickrange: [second, 60 * second], value: "%H:%M:%S\n%Y-%m-%d" },
    { dtickrange: [60 * second, 86400 * second], value: "%H:%M\n%Y-%m-%d" },
    { dtickrange: [86400 * second, null], value: "%Y-%m-%d" },
  ];

  const axis = () => ({
    gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--line"), tickcolor: colour("--line"),
    fixedrange: false,
  });

  const layoutOf = (chart) => {
    const own = coloured(chart.layout);
    return {
      ...own,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--soft") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      // The same margins everywhere: what stands above each other happened at the same time.
      margin: { l: narrow.matches ? 74 : 78, r: 10, t: 8, b: 52 },
      hovermode: "closest",
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") }, namelength: -1, align: "left" },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: colour("--ink") } },
      showlegend: true,
      dragmode: "zoom",
      xaxis: { ...axis(), type: "date", range: [...chart.range], hoverformat: "%H:%M:%S.%L", tickformatstops: times, title: { text: "UTC", standoff: 4 } },
      yaxis: { ...axis(), ...own.yaxis, title: { ...own.yaxis.title, standoff: 8 } },
    };
  };

  const options = { displayModeBar: false, responsive: true, showTips: false };

  // All charts show the same stretch of time: zooming one zooms the others.
  const follow = (from, change) => {
    if (following) return;
    const to = change["xaxis.range[0]"] !== undefined ? [change["xaxis.range[0]"], change["xaxis.range[1]"]] : change["xaxis.range"];
    const whole = change["xaxis.autorange"] === true;
    if (to === undefined && !whole) return;
    following = true;
    const others = charts.filter((chart) => chart.id !== from.id);
    Promise.all(charts.map((chart) => (whole || others.includes(chart))
      ? Plotly.relayout(chart.id, { "xaxis.range": whole ? [...chart.range] : [...to] }) : null)).finally(() => { following = false; });
  };

  const draw = () => Promise.all(charts.map((chart) => Plotly.react(chart.id, coloured(chart.traces), layoutOf(chart), options)));

  draw().then(() => {
    for (const chart of charts) {
      const place = document.getElementById(chart.id);
      place.on("plotly_relayout", (change) => follow(place, change));
    }
    document.documentElement.dataset.drawn = String(charts.length);
  });
  for (const change of [dark, narrow]) change.addEventListener("change", draw);

  const events = document.getElementById("events");
  for (const button of document.querySelectorAll(".filter button")) {
    button.addEventListener("click", () => {
      events.className = `scroll ${button.value}`;
      for (const other of document.querySelectorAll(".filter button")) other.setAttribute("aria-pressed", String(other === button));
    });
  }
})();
