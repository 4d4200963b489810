// Keeps the page as the server sees it now: fetches what it shows, and changes what is different. What stays keeps its
// place, its focus, and the reader's.
"use strict";

const EVERY = 2000; // milliseconds between an answer and the next question
const PATIENCE = 10000; // milliseconds for an answer

const live = document.getElementById("live");
const said = document.getElementById("said");
const token = document.getElementById("token");
let lastAnswer = new Date();

function say(text, isBad) {
  if (said.textContent !== text) said.textContent = text; // the same text twice would be read out twice
  said.classList.toggle("bad", isBad);
}

function become(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (!fresh.children.length || !old.children.length) return old.replaceChildren(...fresh.childNodes);
  const known = new Map([...old.children].filter(one => one.dataset.key).map(one => [one.dataset.key, one]));
  const wanted = [...fresh.childNodes].map((child, at) => {
    const twin = child.dataset?.key ? known.get(child.dataset.key) : old.childNodes[at];
    if (!twin || twin.nodeName !== child.nodeName || twin.dataset?.key !== child.dataset?.key) return child;
    if (child.nodeType === Node.ELEMENT_NODE) become(twin, child);
    else if (twin.nodeValue !== child.nodeValue) twin.nodeValue = child.nodeValue;
    return twin;
  });
  const isInPlace = wanted.length === old.childNodes.length && wanted.every((one, at) => one === old.childNodes[at]);
  if (isInPlace) return;
  const kept = new Set(wanted);
  for (const child of [...old.childNodes]) if (!kept.has(child)) child.remove();
  // Only what isn't in its place is moved: a button that is moved loses the focus.
  wanted.forEach((child, at) => {
    if (old.childNodes[at] !== child) old.insertBefore(child, old.childNodes[at] ?? null);
  });
}

async function refresh() {
  const answer = await fetch("live", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
  become(document.getElementById("now"), document.importNode(parsed.getElementById("now"), true));
  live.classList.remove("stale");
}

async function keepUp() {
  if (!document.hidden) {
    try {
      await refresh();
      lastAnswer = new Date();
      if (live.dataset.lost) say("The server answers again.", false);
      delete live.dataset.lost;
    } catch {
      live.dataset.lost = "yes";
      live.classList.add("stale");
      say(`The server doesn't answer. What is shown is from ${lastAnswer.toLocaleTimeString()}.`, true);
    }
  }
  setTimeout(keepUp, EVERY);
}

async function end(button) {
  if (!token.value) {
    say("Type the operator's token first; ftpsvc ctl token shows it.", true);
    token.focus();
    return;
  }
  const name = button.getAttribute("aria-label").replace(/^End /, "");
  if (!confirm(`End ${name}? A transfer is cut.`)) return;
  try {
    const answer = await fetch("end", {
      method: "POST",
      headers: { Authorization: `Bearer ${token.value.trim()}`, "Session-Number": button.dataset.end },
      signal: AbortSignal.timeout(PATIENCE),
    });
    say(await answer.text(), !answer.ok);
    await refresh();
  } catch {
    say("The server doesn't answer.", true);
  }
}

live.addEventListener("click", event => {
  const button = event.target.closest("button[data-end]");
  if (button) end(button);
});
document.getElementById("operator").addEventListener("submit", event => event.preventDefault());
setTimeout(keepUp, EVERY);
