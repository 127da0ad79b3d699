"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const make = (name) => $(`#${name}`).content.firstElementChild.cloneNode(true);
  const LABELS = { failed: "Failed", timed_out: "Timed out", unresolved: "Unresolved" };
  const LOST = "The file is not here any more.";
  const COPIED_MS = 1600;
  const grid = $("#grid"), filter = $("#filter"), viewer = $("#viewer");

  // ---- the data: a view is one picture of an item, or what an item has instead

  const items = JSON.parse($("#data").textContent);
  const views = items.flatMap((item) => {
    const all = item.pictures.map((picture, index) => ({ item, picture, index }));
    return item.error || !all.length ? [...all, { item, picture: null, index: all.length }] : all;
  });
  const fold = (text) => text.normalize("NFKC").toLowerCase();
  for (const view of views) {
    const { item, picture } = view;
    view.kind = picture ? "picture" : "problem";
    view.label = picture ? "" : LABELS[item.state] || "Not saved";
    view.prompt = item.prompt || "";
    view.name = view.prompt || item.id || item.key;
    view.text = fold([view.prompt, item.model, item.key, item.id, item.size, view.label, picture ? picture.name : item.error].filter(Boolean).join("\n"));
  }
  const total = { picture: 0, problem: 0 };
  for (const view of views) total[view.kind] += 1;

  const number = (count) => count.toLocaleString("en");
  const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
  function duration(seconds) {
    const whole = Math.round(seconds);
    if (whole < 60) return `${Math.round(seconds * 10) / 10} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  }
  function moment(text) {
    const date = new Date(text);
    return isNaN(date) ? text : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }

  // ---- the grid

  const viewOf = new Map(); // by its tile

  function setPrompt(element, view) {
    element.textContent = view.prompt || "No prompt known";
    element.classList.toggle("none", !view.prompt);
  }
  function setProblem(element, view, label, reason) {
    element.dataset.state = view.item.state;
    element.firstElementChild.textContent = label;
    element.lastElementChild.textContent = reason;
  }
  function makeProblem(view, label, reason) {
    const problem = make("problem");
    setProblem(problem, view, label, reason);
    return problem;
  }
  function makeTile(view) {
    const { item, picture } = view;
    const tile = make("tile"), open = $(".open", tile), copy = $(".copy", tile);
    if (picture) {
      const image = make("thumbnail");
      image.alt = view.name;
      image.addEventListener("error", () => {
        view.isLost = true;
        open.replaceChildren(makeProblem(view, "File missing", picture.name));
        open.setAttribute("aria-label", `File missing: ${view.name}`);
      });
      image.src = picture.url;
      open.append(image);
    } else {
      open.append(makeProblem(view, view.label, item.error || "There is no picture."));
      open.setAttribute("aria-label", `${view.label}: ${view.name}`);
    }
    setPrompt($(".prompt", tile), view);
    const place = picture && item.pictures.length > 1 ? `${view.index + 1}\u00a0of\u00a0${item.pictures.length}` : "";
    const time = item.seconds === undefined ? "" : duration(item.seconds);
    $(".meta", tile).textContent = [item.model, time, place].filter(Boolean).join(" \u00b7 ");
    copy.hidden = !view.prompt;
    open.addEventListener("click", () => show(view));
    copy.addEventListener("click", () => copyPrompt(copy, view));
    Object.assign(view, { tile, open, copy });
    viewOf.set(tile, view);
    return tile;
  }

  let shown = views;
  let stop = null; // the view whose buttons the Tab key stops at: one stop for the grid, not thousands
  function stopAt(view) {
    for (const [old, index] of [[stop, -1], [view, 0]]) if (old) old.open.tabIndex = old.copy.tabIndex = index;
    stop = view;
  }
  grid.addEventListener("focusin", (event) => {
    const view = viewOf.get(event.target.closest(".tile"));
    if (view !== stop) stopAt(view);
  });
  grid.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !event.target.matches(".open")) return;
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const last = shown.length - 1, here = shown.indexOf(stop);
    const there = { ArrowLeft: here - 1, ArrowRight: here + 1, ArrowUp: here - columns, ArrowDown: here + columns, Home: 0, End: last }[event.key];
    if (there === undefined) return;
    event.preventDefault();
    if (there >= 0 && there <= last) shown[there].open.focus();
  });

  // ---- the filter

  let kind = "";
  function applyFilter() {
    const words = fold(filter.value).split(/\s+/).filter(Boolean);
    const fits = (view) => (!kind || view.kind === kind) && words.every((word) => view.text.includes(word));
    shown = views.filter(fits);
    const kept = new Set(shown);
    for (const view of views) view.tile.hidden = !kept.has(view);
    if (!kept.has(stop)) stopAt(shown[0] || null);
    const all = [plural(total.picture, "picture"), ...(total.problem ? [plural(total.problem, "problem")] : [])].join(", ");
    $("#count").textContent = shown.length === views.length ? all : `${number(shown.length)} of ${number(views.length)} shown`;
    $("#nothing").hidden = shown.length > 0;
    $("#nothing p").textContent = views.length ? "Nothing fits the filter." : "There are no pictures yet.";
    $("#clear").hidden = !views.length;
  }
  function choose(button) {
    kind = button.dataset.kind;
    for (const one of $("#kinds").children) one.setAttribute("aria-pressed", String(one === button));
    applyFilter();
  }
  filter.addEventListener("input", applyFilter);
  for (const button of $("#kinds").children) button.addEventListener("click", () => choose(button));
  $("#clear").addEventListener("click", () => {
    filter.value = "";
    choose($("#kinds").firstElementChild);
    filter.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.altKey || event.ctrlKey || event.metaKey || viewer.open || event.target === filter) return;
    event.preventDefault();
    filter.select();
  });

  // ---- one picture, enlarged

  const stage = $(".stage", viewer), picture = $("img", stage), problem = $(".problem", stage), copy = $(".copy", viewer);
  let current = null;
  function show(view) {
    const { item } = view;
    current = view;
    const isPicture = Boolean(view.picture) && !view.isLost;
    picture.hidden = !isPicture;
    problem.hidden = isPicture;
    if (isPicture) {
      picture.alt = view.name;
      picture.src = view.picture.url;
    } else {
      picture.removeAttribute("src");
      setProblem(problem, view, view.isLost ? "File missing" : view.label, view.isLost ? LOST : item.error || "There is no picture.");
    }
    setPrompt($(".prompt", viewer), view);
    copy.hidden = !view.prompt;
    $("span", copy).textContent = "Copy prompt";
    copy.classList.remove("done");
    $(".note", viewer).textContent = item.error || "";
    $(".note", viewer).hidden = !isPicture || !item.error;
    $(".place", viewer).textContent = `${number(shown.indexOf(view) + 1)} of ${number(shown.length)}`;
    $("dl", viewer).replaceChildren(...details(view));
    if (!viewer.open) viewer.showModal();
    viewer.scrollTop = 0;
    for (const near of [-1, 1]) {
      const neighbour = at(near).picture;
      if (neighbour) new Image().src = neighbour.url;
    }
  }
  function* details({ item, picture: file }) {
    const known = [
      ["Model", item.model],
      ["Size", item.size],
      ["Took", item.seconds === undefined ? "" : duration(item.seconds)],
      ["Finished", item.ended && moment(item.ended)],
      ["Cost", item.cost && `$${item.cost}`],
      ["Key", item.key],
      ["Task", item.id],
    ];
    for (const [name, value] of known) if (value) yield* [term(name), definition(value)];
    if (file) {
      const link = document.createElement("a");
      Object.assign(link, { href: file.url, target: "_blank", rel: "noreferrer", textContent: file.name });
      yield* [term("File"), definition(link)];
    }
  }
  function term(name) {
    const element = document.createElement("dt");
    element.textContent = name;
    return element;
  }
  function definition(value) {
    const element = document.createElement("dd");
    element.dir = "auto";
    element.append(value);
    return element;
  }
  const at = (step) => shown[(shown.indexOf(current) + step + shown.length) % shown.length];
  picture.addEventListener("error", () => {
    if (!current.picture || picture.getAttribute("src") !== current.picture.url) return; // of one before
    current.isLost = true;
    show(current);
  });
  $(".back", viewer).addEventListener("click", () => show(at(-1)));
  $(".next", viewer).addEventListener("click", () => show(at(1)));
  $(".close", viewer).addEventListener("click", () => viewer.close());
  copy.addEventListener("click", () => copyPrompt(copy, current));
  stage.addEventListener("click", (event) => {
    if (event.target === stage || event.target === picture) viewer.close();
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const there = { ArrowLeft: () => at(-1), ArrowRight: () => at(1), Home: () => shown[0], End: () => shown[shown.length - 1] }[event.key];
    if (!there) return;
    event.preventDefault();
    show(there());
  });
  viewer.addEventListener("close", () => {
    picture.removeAttribute("src");
    current.open.focus(); // the last one looked at, which need not be the one it was opened from
  });

  // ---- copying

  async function copyPrompt(button, view) {
    let isDone = true;
    try {
      await navigator.clipboard.writeText(view.prompt);
    } catch {
      isDone = copyBySelection(button, view.prompt); // no clipboard for a page that came over plain HTTP
    }
    const label = $("span", button), icon = $("use", button);
    const text = isDone ? "Copied" : "Could not be copied";
    if (label) label.textContent = text;
    else $("#said").textContent = text;
    if (!isDone) return;
    button.classList.add("done");
    icon.setAttribute("href", "#i-check");
    setTimeout(() => {
      button.classList.remove("done");
      icon.setAttribute("href", "#i-copy");
      if (label) label.textContent = "Copy prompt";
      $("#said").textContent = "";
    }, COPIED_MS);
  }
  function copyBySelection(button, text) {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "unseen";
    button.after(field); // inside the dialog, if it is open: nothing else can be focused then
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    button.focus();
    return isDone;
  }

  // ---- begin

  grid.append(...views.map(makeTile));
  $("#kinds").hidden = !(total.picture && total.problem);
  applyFilter();
})();
