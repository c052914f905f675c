// The portal's own script: conveniences only. Every page works without it.
"use strict";
(() => {
  const dialog = document.getElementById("dialog");
  let lastTouched = Date.now();
  let pendingGo = 0;

  // With scripts, filters apply while typing: the button for browsers without them is in the way.
  document.querySelectorAll("[data-plain]").forEach((button) => button.classList.add("sr"));
  document.querySelectorAll("[data-plain]").forEach((button) => (button.tabIndex = -1));

  // A page that asks before something is done was loaded into the dialog: open it.
  document.addEventListener("htmx:after:swap", () => {
    if (dialog && !dialog.open && document.getElementById("dialog-body").childElementCount) {
      dialog.showModal();
    }
  });
  dialog?.addEventListener("close", () => document.getElementById("dialog-body").replaceChildren());
  document.addEventListener("click", (event) => {
    const close = event.target.closest("[data-close]");
    if (dialog?.open && (close || event.target === dialog)) {
      event.preventDefault();
      dialog.close();
    }
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent.trim());
      copy.textContent = "Copied";
    }
  });

  // A page nobody looks at does not ask the server again and again, nor keep a session alive.
  const quietAfterMs = 10 * 60 * 1000;
  for (const kind of ["pointerdown", "keydown"]) {
    document.addEventListener(kind, () => (lastTouched = Date.now()), { passive: true });
  }
  document.addEventListener("htmx:before:request", (event) => {
    const { sourceEvent } = event.detail.ctx;
    const away = document.hidden || Date.now() - lastTouched > quietAfterMs;
    if (sourceEvent?.type === "every" && (away || dialog?.open)) event.preventDefault();
  });

  // "/" goes to the filter; "g" and a letter to a page.
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || dialog?.open) return;
    if (event.key === "/") {
      const filter = document.querySelector("[data-filter]");
      if (filter) {
        event.preventDefault();
        filter.focus();
        filter.select();
      }
    } else if (event.key === "g") {
      pendingGo = Date.now();
    } else if (Date.now() - pendingGo < 1500) {
      pendingGo = 0;
      [...document.querySelectorAll("[data-key]")].find((a) => a.dataset.key === event.key)?.click();
    }
  });

  // In an inbox, "j" and "k" go through the rows, whose focus fills the pane beside it; "a" goes to
  // the approval and "d" to the comment for a no, so that neither is given by one slip of a finger.
  document.addEventListener("keydown", (event) => {
    const rows = [...document.querySelectorAll("[data-row]")];
    if (!rows.length || event.ctrlKey || event.metaKey || event.altKey || dialog?.open) return;
    const pane = document.getElementById("pane");
    const at = rows.findIndex((row) => row.getAttribute("href") === pane?.dataset.at);
    if (event.key === "Escape" && pane?.contains(event.target)) rows[Math.max(at, 0)].focus();
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const goal = { j: rows[Math.min(at + 1, rows.length - 1)], k: rows[Math.max(at - 1, 0)] }[event.key];
    const part = { a: "[data-approve]", d: "[data-vote] textarea" }[event.key];
    const shown = pane?.querySelector("[data-pane]")?.dataset.pane;
    const same = shown && rows[at]?.getAttribute("href").endsWith(`/${shown}`);
    const there = goal ?? (part && same && pane.querySelector(part));
    if (there && Date.now() - pendingGo >= 1500) {
      event.preventDefault();
      there.focus();
    }
  });
  document.addEventListener("focusin", (event) => {
    const pane = document.getElementById("pane");
    if (pane && event.target.matches("[data-row]")) {
      // What still shows belongs to another request: nobody may approve it by mistake.
      if (pane.dataset.at !== event.target.getAttribute("href")) pane.replaceChildren();
      pane.dataset.at = event.target.getAttribute("href");
      document.querySelectorAll("tr.at").forEach((row) => row.classList.remove("at"));
      event.target.closest("tr").classList.add("at");
    }
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("a, button, input, label")) return;
    event.target.closest("tr")?.querySelector("[data-row]")?.focus();
  });

  // Control and Enter run what is being edited.
  document.addEventListener("keydown", (event) => {
    const run = event.target.form?.querySelector("[data-run]");
    if (run && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.target.form.requestSubmit(run);
    }
  });

  // A form is sent once, however often its button is pressed.
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    setTimeout(() => event.target.querySelectorAll("button").forEach((b) => (b.disabled = true)));
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
})();
