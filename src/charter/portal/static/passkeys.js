// Passkeys: forms with data-passkey ("create" or "get") ask their data-options address what the
// browser shall do, let it do that, and are sent with its answer in the field `credential`.
"use strict";
(() => {
  const bytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  function understood(options) {
    const found = { ...options, challenge: bytes(options.challenge) };
    if (options.user) found.user = { ...options.user, id: bytes(options.user.id) };
    for (const list of ["allowCredentials", "excludeCredentials"]) {
      found[list] = (options[list] || []).map((each) => ({ ...each, id: bytes(each.id) }));
    }
    return found;
  }

  function written(credential) {
    const { response } = credential;
    const parts = { clientDataJSON: text(response.clientDataJSON) };
    for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (response[name]) parts[name] = text(response[name]);
    }
    if (response.getTransports) parts.transports = response.getTransports();
    return JSON.stringify({
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      response: parts,
      clientExtensionResults: {},
    });
  }

  // What people read when the browser made or showed nothing.
  const WHY = {
    NotAllowedError: "The browser showed no passkey: it was cancelled, or took too long.",
    InvalidStateError: "This device already has a passkey for your account.",
    SecurityError: "Passkeys cannot work at this address.",
    NotSupportedError: "This device cannot make such a passkey.",
  };

  async function ceremony(form) {
    const csrf = form.elements._csrf?.value;
    const answer = await fetch(form.dataset.options, {
      method: "POST",
      headers: csrf ? { "X-CSRF-Token": csrf } : {},
    });
    // A refusal is a page: sending the form as it is leads there.
    if (!answer.ok || !answer.headers.get("content-type")?.startsWith("application/json")) return "";
    const publicKey = understood(await answer.json());
    return written(
      form.dataset.passkey === "create"
        ? await navigator.credentials.create({ publicKey })
        : await navigator.credentials.get({ publicKey }),
    );
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.dataset.passkey) return;
    event.preventDefault();
    const said = form.querySelector("[data-said]");
    const button = form.querySelector("button");
    said.textContent = "";
    if (!window.PublicKeyCredential) {
      said.textContent = "This browser knows no passkeys, or this page is not secure enough for them.";
      return;
    }
    button.disabled = true;
    try {
      form.elements.credential.value = await ceremony(form);
      HTMLFormElement.prototype.submit.call(form);
    } catch (error) {
      said.textContent = WHY[error.name] || "The server could not be reached. Try again.";
      button.disabled = false;
    }
  });

  // A form that waited for a confirmation is sent as soon as it was given.
  document.querySelector("form[data-at-once]")?.requestSubmit();
})();
