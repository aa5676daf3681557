// Elements. Text is only ever set as text: what a file or a class is called never becomes HTML.

export const find = (id) => document.getElementById(id);

export function make(tag, { text, title, className, on, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (title) element.title = title;
  if (className) element.className = className;
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  for (const [name, does] of Object.entries(on ?? {})) element.addEventListener(name, does);
  element.append(...children);
  return element;
}

// Of buttons in a row one is pressed.
export function press(buttons, chosen, key) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset[key] === chosen));
}

export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

export const share = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
