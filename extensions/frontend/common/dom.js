/** Building and updating the page. Text is always set as text, so nothing that a factory says can become markup. */

/**
 * An element: h("p", {class: "x", onclick: f, "aria-live": "polite"}, "text", child, null).
 * Properties that begin with "on" become listeners, `key` marks an element across updates, `false`/`null` leave an
 * attribute out, and `value` also sets the property.
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "key") element.dataset.key = value;
    else if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  if (attributes?.value !== undefined && "value" in element) element.value = attributes.value;
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets the children of `parent` to look like `fresh`, keeping the elements that stay: focus and choices survive. */
export function render(parent, ...fresh) {
  const holder = document.createElement("div");
  holder.append(...fresh.flat().filter((child) => child !== null && child !== undefined && child !== false));
  morphChildren(parent, holder);
}

function sameKind(old, fresh) {
  if (old.nodeType !== fresh.nodeType) return false;
  if (old.nodeType !== Node.ELEMENT_NODE) return true;
  return old.tagName === fresh.tagName && old.dataset.key === fresh.dataset.key;
}

function morphChildren(parent, holder) {
  const staying = new Set([...holder.children].map((child) => child.dataset.key));
  const keyed = new Map();
  for (const child of [...parent.children]) {
    if (child.dataset.key === undefined) continue;
    if (staying.has(child.dataset.key)) keyed.set(child.dataset.key, child);
    else child.remove();
  }
  let place = parent.firstChild;
  for (const fresh of [...holder.childNodes]) {
    const key = fresh.nodeType === Node.ELEMENT_NODE ? fresh.dataset.key : undefined;
    let old = key === undefined ? place : keyed.get(key);
    if (key === undefined) {
      while (old && old.nodeType === Node.ELEMENT_NODE && old.dataset.key !== undefined) old = old.nextSibling;
    }
    if (old && sameKind(old, fresh)) {
      // Moving an element in the document takes its focus away, so it is moved only when the order really changed.
      if (old === place) place = place.nextSibling;
      else parent.insertBefore(old, place);
      morph(old, fresh);
    } else {
      parent.insertBefore(fresh, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function morph(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // Whether a <details> is open is the reader's own doing.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  }
  for (const handler of ["onclick", "onchange", "oninput"]) {
    if (old[handler] !== fresh[handler]) old[handler] = fresh[handler];
  }
  if (old.tagName === "INPUT") {
    if (old.checked !== fresh.checked) old.checked = fresh.checked;
    // What a person is typing is not overwritten under the fingers; what they typed stays where no value is given.
    const given = fresh.hasAttribute("value");
    if (given && old !== old.getRootNode().activeElement && old.value !== fresh.value) old.value = fresh.value;
    return;
  }
  morphChildren(old, fresh);
}

/** Says a change to screen readers without moving the focus. */
export function announce(text) {
  const region = document.getElementById("fg-announce");
  if (region && region.textContent !== text) region.textContent = text;
}

/** Reads the page's own settings from the data attributes of the element with this id. */
export function settings(id) {
  return { ...document.getElementById(id).dataset };
}
