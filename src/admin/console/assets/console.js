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
