// Keeps a page current: asks for its JSON, and where that has changed puts the page's new parts into place. And sends
// what a person does, once it was confirmed.
"use strict";

const PATIENCE_MS = 60_000; // the longest wait after answers that did not come

const REFUSED = "The key in the address of this page is not allowed to do this: it is only for viewing, or it was replaced. "
  + "Nothing was done. Open the page with the key for acting.";

const said = document.getElementById("said");
const key = new URLSearchParams(location.search).get("code");
let waitMs = 0;

function source() {
  return document.querySelector("[data-poll]");
}

async function refresh() {
  const part = source();
  if (!part) return; // the run has ended
  const everyMs = Number(part.dataset.everyS) * 1000;
  if (!document.hidden) {
    try {
      waitMs = (await hasChanged(part)) && !(await renew()) ? everyMs * 2 : everyMs;
    } catch {
      waitMs = Math.min(Math.max(waitMs, everyMs) * 2, PATIENCE_MS);
      say("The app does not answer, so this page may be out of date. Trying again.");
    }
  }
  setTimeout(refresh, waitMs || everyMs);
}

// The key goes in a header here, so that it does not appear in the log of every request.
async function hasChanged(part) {
  const headers = { Accept: "application/json", "If-None-Match": part.dataset.etag };
  if (key) headers["x-functions-key"] = key;
  const answer = await fetch(part.dataset.poll, { headers, cache: "no-store" });
  if (answer.status !== 304 && !answer.ok) throw new Error(answer.status);
  if (answer.status === 304) say("", "The app does not answer");
  return answer.status !== 304;
}

async function renew() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status);
  const inert = document.createElement("template"); // its styles and scripts never run
  inert.innerHTML = await answer.text();
  const page = inert.content;
  const focused = document.activeElement?.id;
  const before = new Map([...document.querySelectorAll("details[id]")].map((each) => [each.id, each]));
  for (const old of document.querySelectorAll("[data-live]")) {
    const part = page.getElementById(old.id);
    if (!part) return false;
    for (const each of part.querySelectorAll("details[id]")) {
      const then = before.get(each.id);
      const isNews = "opens" in each.dataset && !(then && "opens" in then.dataset); // refused since it was shown last
      if (then && !isNews) each.open = then.open;
    }
    old.replaceWith(document.adoptNode(part));
  }
  ask.dataset.before = page.getElementById("ask").dataset.before;
  document.title = page.querySelector("title").textContent;
  if (focused && document.activeElement?.id !== focused) {
    document.getElementById(focused)?.focus({ preventScroll: true });
  }
  inLocalTime();
  say(document.querySelector("[data-say]")?.dataset.say ?? "");
  return true;
}

// Says something, if it is new; with a beginning only in place of what begins so.
function say(text, onlyAfter = "") {
  if (said.textContent !== text && said.textContent.startsWith(onlyAfter)) said.textContent = text;
}

function inLocalTime() {
  for (const each of document.querySelectorAll("time")) each.title = new Date(each.dateTime).toLocaleString();
}

// -- what a person does, after a confirmation

const ask = document.getElementById("ask");
const part = (name) => document.getElementById(`ask-${name}`);
let pressed;

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) open(button);
});

function open(button) {
  // "before" is when the runs that the effect counts were seen; the page may be renewed while the dialog is open.
  pressed = { verb: button.dataset.act, target: JSON.parse(button.dataset.target), before: ask.dataset.before };
  part("title").textContent = part("do").textContent = button.textContent;
  part("effect").textContent = button.dataset.effect;
  part("why").required = "needsWhy" in button.dataset;
  part("why").value = "";
  for (const each of ask.querySelectorAll("label, #ask-do")) each.hidden = false;
  for (const each of [part("said"), part("each")]) each.hidden = true;
  part("do").disabled = false;
  part("cancel").textContent = "Cancel";
  ask.showModal();
  part("why").focus();
}

part("cancel").addEventListener("click", () => ask.close());
part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  act();
});

async function act() {
  part("do").disabled = true; // pressed twice, it would still be done once
  try {
    const answer = await send();
    if (answer.done) await show(answer);
    else complain(answer.said);
  } catch {
    complain("The app does not answer, so the result is unknown. You can safely press the button again.");
  }
}

// The key goes in a header: a page of somebody else's could send an address, and could not send this.
async function send() {
  const asked = { ...pressed.target, why: part("why").value, by: part("by")?.value ?? "", before: pressed.before };
  const answer = await fetch(`${ask.dataset.actions}/${pressed.verb}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "x-functions-key": key || "none" },
    body: JSON.stringify(asked),
  });
  return answer.status === 401 ? { done: false, said: REFUSED } : answer.json();
}

async function show(answer) {
  const there = answer.run && `${ask.dataset.runs}/${answer.run}`;
  if (there && there !== location.pathname) {
    location.assign(there + (key ? `?${new URLSearchParams({ code: key })}` : ""));
    return;
  }
  if (answer.each.length) {
    complain(answer.said);
    for (const each of ask.querySelectorAll("label, #ask-do")) each.hidden = true;
    part("each").replaceChildren(...answer.each.map(({ said }) => Object.assign(document.createElement("li"), { textContent: said })));
    part("each").hidden = false;
    part("cancel").textContent = "Close";
  } else {
    ask.close();
  }
  await renew();
  say(answer.said);
}

function complain(text) {
  part("said").textContent = text;
  part("said").hidden = false;
  part("do").disabled = false;
}

inLocalTime();
setTimeout(refresh, 1000);
