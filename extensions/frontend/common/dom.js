/**
 * Builds and updates elements of a page. Text is always set as text, so that no text from a factory can become markup.
 */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Child | readonly Child[]} Children */
/** @typedef {Record<string, any>} Attributes */

/** @param {readonly (Children | readonly Children[])[]} children */
const shown = (children) => /** @type {(Node | string)[]} */ (
  children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));

/**
 * The controls for which a script says whether they are checked; a page from the hub gives only their default.
 * @type {WeakSet<Element>}
 */
const decided = new WeakSet();

/**
 * An element: h("p", {class: "x", onclick: f, "aria-live": "polite"}, "text", child, null).
 * Properties that begin with "on" become listeners, `key` marks an element across updates, `false`/`null` leave an
 * attribute out, and `value` also sets the property.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...Children} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "key") element.dataset.key = value;
    else if (name.startsWith("on")) Object.assign(element, { [name]: value });
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  if (attributes?.value !== undefined && "value" in element) Object.assign(element, { value: attributes.value });
  if (attributes && "checked" in attributes) decided.add(element);
  element.append(...shown(children));
  return element;
}

/**
 * Changes the children of `parent` to look like `fresh`, and keeps the elements that stay, so that focus and choices
 * stay.
 * @param {Element} parent
 * @param {...(Children | readonly Children[])} fresh
 */
export function render(parent, ...fresh) {
  const holder = document.createElement("div");
  holder.append(...shown(fresh));
  morphChildren(parent, holder);
}

/**
 * @param {Node | null | undefined} node
 * @returns {node is HTMLElement}
 */
const isElement = (node) => node?.nodeType === Node.ELEMENT_NODE;

/**
 * @param {Node} old
 * @param {Node} fresh
 */
function sameKind(old, fresh) {
  if (old.nodeType !== fresh.nodeType) return false;
  if (!isElement(old) || !isElement(fresh)) return true;
  return old.tagName === fresh.tagName && old.dataset.key === fresh.dataset.key;
}

/**
 * @param {Element} element
 * @returns {HTMLElement[]}
 */
const elements = (element) => [.../** @type {HTMLCollectionOf<HTMLElement>} */ (element.children)];

/**
 * @param {Element} parent
 * @param {Element} holder
 */
function morphChildren(parent, holder) {
  const staying = new Set(elements(holder).map((child) => child.dataset.key));
  /** @type {Map<string, Node>} */
  const keyed = new Map();
  for (const child of elements(parent)) {
    if (child.dataset.key === undefined) continue;
    if (staying.has(child.dataset.key)) keyed.set(child.dataset.key, child);
    else child.remove();
  }
  /** @type {Node | null} */
  let place = parent.firstChild;
  for (const fresh of [...holder.childNodes]) {
    const key = isElement(fresh) ? fresh.dataset.key : undefined;
    /** @type {Node | null | undefined} */
    let old = key === undefined ? place : keyed.get(key);
    if (key === undefined) {
      while (isElement(old) && old.dataset.key !== undefined) old = old.nextSibling;
    }
    if (old && sameKind(old, fresh)) {
      // Moving an element in the document takes its focus away, so it is moved only when the order really changed.
      if (old === place) place = old.nextSibling;
      else parent.insertBefore(old, place);
      morph(old, fresh);
    } else {
      parent.insertBefore(fresh, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    parent.removeChild(place);
    place = next;
  }
}

/**
 * Whether a person has ticked or unticked this control, and the fresh page asks the same with the same default.
 * @param {HTMLInputElement} old
 * @param {HTMLInputElement} fresh
 */
const isChosen = (old, fresh) => !decided.has(fresh) && old.checked !== old.defaultChecked &&
  old.defaultChecked === fresh.defaultChecked && old.name === fresh.name && old.value === fresh.value;

const HANDLERS = /** @type {const} */ (["onclick", "onchange", "oninput"]);

/**
 * @param {Node} old
 * @param {Node} fresh
 */
function morph(old, fresh) {
  if (!isElement(old) || !isElement(fresh)) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  const areInputs = old instanceof HTMLInputElement && fresh instanceof HTMLInputElement;
  const chosen = areInputs && isChosen(old, fresh); // before the attributes change, which hold the default
  for (const { name } of [...old.attributes]) {
    // The reader decides whether a <details> is open.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  }
  for (const handler of HANDLERS) {
    if (old[handler] !== fresh[handler]) Object.assign(old, { [handler]: fresh[handler] });
  }
  if (areInputs) {
    if (!chosen && old.checked !== fresh.checked) old.checked = fresh.checked;
    // A field that the person is typing in is not overwritten; without a given value, its text stays.
    const given = fresh.hasAttribute("value");
    const { activeElement } = /** @type {Document | ShadowRoot} */ (old.getRootNode());
    if (given && old !== activeElement && old.value !== fresh.value) old.value = fresh.value;
    return;
  }
  morphChildren(old, fresh);
}

/**
 * Sets a text only if it differs: an unchanged element is neither redrawn nor read out again.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Announces a change to screen readers without moving the focus.
 * @param {string} text
 */
export function announce(text) {
  const region = document.getElementById("fg-announce");
  if (region) setText(region, text);
}

/**
 * The page's element with this id.
 * @param {string} id
 * @returns {any}
 */
export const byId = (id) => document.getElementById(id);

/**
 * Reads the page's own settings from the data attributes of the element with this id.
 * @param {string} id
 */
export function settings(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element ${id}`);
  return /** @type {Record<string, string>} */ ({ ...element.dataset });
}
