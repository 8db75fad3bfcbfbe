// Keeps marked parts of a page up to date: what has data-live is fetched again every so many seconds, from the page itself or from
// data-from, and changed in place, so that focus, scrolling and what is open stay. Without this script a page is as it was when it came.
"use strict";

(() => {
  const PATIENCE_MS = 15_000;
  const due = new Map();
  let stale = false;

  const text = (id) => document.getElementById(id);

  function sourceOf(part) {
    return new URL(part.dataset.from || location.href, location.href).href;
  }

  // A form that somebody has opened stays as it is, also where the page has no such form any more: then it goes once it is closed.
  const callbacks = {
    beforeNodeMorphed: (old) => !(old instanceof HTMLDetailsElement && old.open),
    beforeNodeRemoved: (old) => {
      const opened = old instanceof Element && (old.matches("details[open]") || old.querySelector("details[open]"));
      if (opened) old.dataset.gone = "";
      return !opened;
    },
  };
  document.addEventListener("toggle", (event) => {
    if (!event.target.open) event.target.closest("[data-gone]")?.remove();
  }, true);

  function tell(said, signedOut = false) {
    const place = text("stale");
    const [sentence, signIn] = place.children;
    stale = said !== "";
    if (sentence.textContent !== said) sentence.textContent = said;
    place.hidden = !stale;
    // It leads to this page, which asks for a token first.
    signIn.hidden = !signedOut;
  }

  async function refresh(source) {
    const answer = await fetch(source, {
      headers: { accept: "text/html" },
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (new URL(answer.url).pathname === "/sign-in") {
      tell("You are signed out, and what is shown is not up to date.", true);
      return;
    }
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = sourceOf(part) === source && fresh.getElementById(part.id);
      if (other) Idiomorph.morph(part, other, { morphStyle: "outerHTML", ignoreActiveValue: true, callbacks });
    }
    if (source === location.href) document.title = fresh.title;
    chooseAgain();
    if (stale) tell("");
  }

  async function tick() {
    const seconds = new Map();
    for (const part of document.querySelectorAll("[data-live]")) {
      const source = sourceOf(part);
      seconds.set(source, Math.min(seconds.get(source) ?? Infinity, Number(part.dataset.live) || 5));
    }
    for (const [source, every] of seconds) {
      const now = performance.now();
      if (!due.has(source)) due.set(source, now + every * 1000);
      if (document.hidden || now < due.get(source)) continue;
      try {
        await refresh(source);
      } catch {
        const since = new Date().toISOString().slice(11, 19);
        if (!stale) tell(`Not up to date: the worker has not answered since ${since} UTC. Trying again.`);
      }
      due.set(source, performance.now() + every * 1000);
    }
    setTimeout(tick, 500);
  }

  document.addEventListener("visibilitychange", () => due.forEach((_, source) => due.set(source, 0)));

  // The filter is folded where there is little room, unless something is wrong in it.
  const narrow = matchMedia("(max-width: 40rem)");
  function fold() {
    document.querySelectorAll("details[data-fold]:not([data-keep])").forEach((part) => { part.open = !narrow.matches; });
  }
  narrow.addEventListener("change", fold);
  fold();

  // What was wrong has the focus, also where its form was not open when the page came.
  document.querySelector("[aria-invalid=true]")?.focus();

  // Charts: the figures of a time, by pointing at it or with arrow keys.
  function choose(point) {
    const chart = point.closest("[data-chart]");
    chart.querySelector(".point.chosen")?.classList.remove("chosen");
    point.classList.add("chosen");
    const figure = chart.closest("figure");
    const reads = figure?.querySelector(".reads");
    if (!reads) return;
    if (reads.textContent !== point.textContent) reads.textContent = point.textContent;
    chosen.set([...document.querySelectorAll("figure")].indexOf(figure), point.textContent.split(" UTC")[0]);
  }
  // Each figure's chosen time: a chart that was made anew shows it again.
  const chosen = new Map();
  function chooseAgain() {
    const figures = document.querySelectorAll("figure");
    for (const [at, time] of chosen) {
      const point = [...figures[at].querySelectorAll(".point")].find((one) => one.textContent.startsWith(time));
      if (point) choose(point); else chosen.delete(at);
    }
  }
  document.addEventListener("pointerover", (event) => {
    if (event.target.matches?.(".point")) choose(event.target);
  });
  function along(event) {
    const chart = event.target.closest?.("[data-chart]");
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!chart || !(event.key in steps)) return false;
    const points = [...chart.querySelectorAll(".point")];
    const at = points.indexOf(chart.querySelector(".point.chosen"));
    const to = at < 0 ? (event.key === "Home" ? 0 : points.length - 1) : at + steps[event.key];
    choose(points[Math.max(0, Math.min(points.length - 1, to))]);
    return true;
  }

  // Keys: single letters, which whoever does not want them switches off.
  const keys = text("keys");
  const KEYS_OFF = "sluice-keys-off";
  function remembered() {
    try { return localStorage.getItem(KEYS_OFF) !== null; } catch { return false; }
  }
  let keysOff = remembered();
  text("keys-on").checked = !keysOff;
  text("keys-on").addEventListener("change", (event) => {
    keysOff = !event.target.checked;
    try {
      if (keysOff) localStorage.setItem(KEYS_OFF, "yes"); else localStorage.removeItem(KEYS_OFF);
    } catch { /* Without storage it holds until the page is left. */ }
  });
  text("keys-open").addEventListener("click", () => keys.showModal());

  function move(step) {
    const rows = [...document.querySelectorAll("main tbody tr, main article.operation, main [data-row]")];
    const links = rows.map((row) => row.querySelector("a[href]")).filter((link) => link && link.offsetParent !== null);
    if (links.length === 0) return false;
    const row = document.activeElement?.closest("tr, article, [data-row]");
    const at = links.findIndex((link) => row?.contains(link));
    const to = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.max(0, Math.min(links.length - 1, at + step));
    links[to].focus();
    links[to].scrollIntoView({ block: "nearest" });
    return true;
  }
  function toSearch() {
    const field = 
      document.querySelector("main [role=search] input:not([type=hidden])") ?? document.querySelector("header [role=search] input");
    if (!field) return false;
    const folded = field.closest("details:not([open])");
    if (folded) folded.open = true;
    field.focus();
    field.select?.();
    return true;
  }
  // Places of the main navigation: those that it has.
  const PLACES = { o: "/", a: "/audit", i: "/issues", u: "/unrouted" };
  function go(key) {
    const place = document.querySelector(`header nav a[href="${PLACES[key]}"]`);
    if (place) location.assign(place.href);
    return Boolean(place);
  }
  const DOES = { "?": () => { keys.showModal(); return true; }, "/": toSearch, j: () => move(1), k: () => move(-1) };
  let goes = false;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]") || keys.open) return;
    if (along(event)) {
      event.preventDefault();
      return;
    }
    if (keysOff) return;
    const went = goes && event.key in PLACES ? go(event.key) : !goes && event.key in DOES && DOES[event.key]();
    goes = !goes && event.key === "g";
    if (goes) setTimeout(() => { goes = false; }, 1_500);
    if (went) event.preventDefault();
  });

  // Copies a text that the page has.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (!button) return;
    const said = button.parentElement.querySelector(".copied");
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      said.textContent = "Copied.";
    } catch {
      // Without TLS browsers give no clipboard: it can be selected.
      const shown = document.createElement("input");
      shown.value = button.dataset.copy;
      shown.readOnly = true;
      shown.setAttribute("aria-label", "To copy");
      said.replaceChildren(shown);
      shown.select();
      said.append(document.execCommand?.("copy") ? " Copied." : " Copy it from here.");
    }
  });

  // Escape closes what was opened, and gives the focus back.
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && event.target.closest("details.act[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });

  // What was sent once is not sent twice by a second click.
  document.addEventListener("submit", (event) => {
    const buttons = event.target.querySelectorAll("button");
    setTimeout(() => buttons.forEach((button) => { button.disabled = true; }));
  });
  addEventListener("pageshow", () => {
    document.querySelectorAll("button:disabled").forEach((button) => { button.disabled = false; });
  });

  // One choice for all the boxes of a table.
  document.addEventListener("change", (event) => {
    const all = event.target.closest("input[data-all]");
    if (!all) return;
    all.form.querySelectorAll(`input[name="${all.dataset.all}"]`).forEach((box) => { box.checked = all.checked; });
  });
  document.querySelectorAll("[data-with-script]").forEach((part) => { part.hidden = false; });

  tick();
})();
