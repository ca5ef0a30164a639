// What a page owes to everybody, computed in the page itself, in the style of axe. Evaluates to what is wrong; empty is well.
(() => {
  const wrong = [];
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const seen = (one) => one.getClientRects().length > 0 && getComputedStyle(one).visibility !== "hidden";
  const name = (one) => `${one.localName}${one.id ? `#${one.id}` : ""} "${one.textContent.trim().slice(0, 30)}"`;
  const labelled = (one) => {
    const by = (one.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("");
    return (one.getAttribute("aria-label") || by || one.getAttribute("alt") || one.getAttribute("title") || "").trim();
  };

  // names
  for (const one of all("a[href], button, input, select, textarea, [tabindex='0']").filter(seen)) {
    const text = one.localName === "input" ? [...(one.labels ?? [])].map((label) => label.textContent).join("") : one.textContent;
    if (!labelled(one) && !text.trim()) wrong.push(`${name(one)} has no name`);
    if (one.hasAttribute("placeholder") && !labelled(one) && !one.labels?.length) wrong.push(`${name(one)}: a placeholder is no name`);
    const box = one.getBoundingClientRect();
    if (one.localName === "button" && (box.width < 24 || box.height < 24)) wrong.push(`${name(one)} is smaller than 24 px`);
  }
  for (const one of all("img, [role=img], dialog")) if (!labelled(one)) wrong.push(`${name(one)} has no label`);
  for (const one of all("[tabindex]")) if (one.tabIndex > 0) wrong.push(`${name(one)} has a positive tabindex`);
  for (const one of all("th")) if (!one.hasAttribute("scope")) wrong.push(`${name(one)} has no scope`);

  // order
  let level = 0;
  for (const one of all("h1, h2, h3, h4, h5, h6").filter((found) => seen(found) && !found.closest("dialog"))) {
    const now = Number(one.localName[1]);
    if (now > level + 1) wrong.push(`${name(one)}: a heading of level ${now} after one of level ${level}`);
    level = now;
  }
  if (all("h1").length !== 1) wrong.push("not one heading of level 1");

  // landmarks
  for (const landmark of ["main", "body > header"]) if (all(landmark).length !== 1) wrong.push(`not one landmark ${landmark}`);
  for (const one of all("section")) if (!labelled(one)) wrong.push(`${name(one)}: a landmark has no label`);
  for (const one of document.body.children) {
    if (seen(one) && one.textContent.trim() && !one.matches("main, header, footer, nav, dialog, a.skip, [role=alert]")) {
      wrong.push(`${name(one)} stands outside every landmark`);
    }
  }
  const ids = all("main [id], header [id], dialog [id]").filter((one) => !one.closest(".plot")).map((one) => one.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`two elements are called ${id}`);
  if (!document.documentElement.lang || !document.title) wrong.push("no language or no title");

  // contrast
  const colour = (text) => {
    const found = text.match(/[\d.]+/g)?.map(Number);
    return found ? [found[0], found[1], found[2], found[3] ?? 1] : [0, 0, 0, 0];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [13, 17, 23, 1] : [255, 255, 255, 1];
  const behind = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      layers.unshift(found);
      if (found[3] === 1) break;
    }
    return layers.reduce((below, top) => over(top, below), canvas);
  };
  const opacity = (one) => {
    let found = 1;
    for (let at = one; at; at = at.parentElement) found *= Number(getComputedStyle(at).opacity);
    return found;
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const told = new Set();
  while (walk.nextNode()) {
    const one = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !seen(one) || one.closest(".skip, script, style")) continue;
    const style = getComputedStyle(one);
    const ink = colour(one instanceof SVGElement ? style.fill : style.color);
    if (ink[3] === 0 || Number(style.opacity) === 0) continue;
    const paper = behind(one);
    const shown = over([...ink.slice(0, 3), ink[3] * opacity(one)], paper);
    const [a, b] = [light(shown), light(paper)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const text = `${name(one)}: contrast ${ratio.toFixed(2)}`;
    if (ratio < (large ? 3 : 4.5) && !told.has(text)) wrong.push(text);
    told.add(text);
  }
  return wrong;
})()
