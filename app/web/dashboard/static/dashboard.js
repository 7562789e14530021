// Keeps a page live: asks for it again every few seconds and changes only what is different, so
// that focus, scroll and opened details stay. Every page works without this.
"use strict";

(() => {
  const EVERY = 3000;
  const bar = document.getElementById("follow");
  if (!document.body.hasAttribute("data-follow") || !document.querySelector("[data-live]")) return;

  const button = bar.querySelector("button");
  const word = document.getElementById("follow-word");
  let following = true;
  let timer = 0;

  function say(text) {
    if (word.textContent !== text) word.textContent = text;
  }

  // Somebody who writes or chooses must not lose what was written.
  function busy() {
    const at = document.activeElement;
    return at !== null && at.closest("[data-live]") !== null && at.matches("input, select, textarea");
  }

  function attributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  function same(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName &&
      (old.id || "") === (fresh.id || "");
  }

  function become(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.isEqualNode(fresh)) return;
    attributes(old, fresh);
    const wanted = [...fresh.childNodes];
    const ids = new Set(wanted.map((node) => node.id).filter(Boolean));
    for (let at = 0; at < wanted.length; at += 1) {
      // What has an id stays the same element, so that a new row above moves no focus.
      while (old.childNodes[at]?.id && !ids.has(old.childNodes[at].id)) old.childNodes[at].remove();
      const current = old.childNodes[at];
      if (current === undefined) old.append(wanted[at].cloneNode(true));
      else if (same(current, wanted[at])) become(current, wanted[at]);
      else if (current.id) current.before(wanted[at].cloneNode(true));
      else current.replaceWith(wanted[at].cloneNode(true));
    }
    while (old.childNodes.length > wanted.length) old.lastChild.remove();
  }

  async function refresh() {
    const answer = await fetch(location.href, { headers: { "X-Live": "1" }, cache: "no-store" });
    if (answer.status === 401) {
      stop("Signed out. Reload the page to sign in again.");
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!following || busy()) return;
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (fresh) become(part, fresh);
    }
    document.body.dataset.refreshed = String(Number(document.body.dataset.refreshed || 0) + 1);
    say("");
  }

  async function turn() {
    if (document.visibilityState === "visible" && !busy()) {
      try {
        await refresh();
      } catch {
        say("The service does not answer; what you see may be old.");
      }
    }
    // Two turns may have overlapped; one goes on.
    clearTimeout(timer);
    if (following) timer = setTimeout(turn, EVERY);
  }

  function stop(text) {
    following = false;
    clearTimeout(timer);
    button.setAttribute("aria-pressed", "false");
    say(text);
  }

  function start() {
    following = true;
    button.setAttribute("aria-pressed", "true");
    say("");
    timer = setTimeout(turn, EVERY);
  }

  button.addEventListener("click", () => (following ? stop("Stopped.") : start()));
  document.addEventListener("visibilitychange", () => {
    if (following && document.visibilityState === "visible") {
      clearTimeout(timer);
      turn();
    }
  });
  bar.hidden = false;
  start();
})();
