/** Building elements. Text is always set as text, so nothing that is told can become markup. */

type Child = Node | string | null;

/** An element with attributes and children; null children are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A button; what it does may take its time. */
export function button(text: string, act: () => Promise<unknown>, attributes: Record<string, string> = {}): HTMLButtonElement {
  const element = h("button", { type: "button", class: "fg-Button", ...attributes }, text);
  element.addEventListener("click", () => {
    void act();
  });
  return element;
}

/** Sets the text if it is another: what is not touched is neither drawn nor spoken again. */
export function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
