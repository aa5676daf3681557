// Changes and questions about one image.
//
// Changes are sent one after the other, so that they arrive in the order in which they were made. Every
// state of an image has a number, and an answer carries that of its question: what is not about the present
// state is dropped, whenever it comes.

import { api } from "./api.js";

export class Asking {
  // `does`, set by whoever shows it: image(told), answers(told or null), waiting(bool), failed(error).
  constructor() {
    this.does = null;
    this.image = null;
    this.answers = null;
    this.strength = 1;
    this._turn = Promise.resolve();
    this._waiting = 0;
    this._asked = 0;
  }

  async open(index) {
    const told = await api.image(index);
    this.image = told;
    this.answers = null;
    this.does.image(told);
    this.does.answers(null);
    this.ask();
    return told;
  }

  // Change the image; the promise ends when the change is kept.
  act(action) {
    const image = this.image;
    if (!image) return Promise.resolve(false);
    this._waiting++;
    if (["click", "box"].includes(action.do)) this.does.waiting(true);
    const done = this._turn.then(() => this._send(image, action));
    this._turn = done.catch(() => {});
    const failed = (error) => (this.does.waiting(false), this.does.failed(error), false);
    return done.catch(failed).finally(() => this._waiting--);
  }

  async _send(image, action) {
    const wanted = typeof action === "function" ? action(this.image) : action;
    const told = await api.act(image.index, wanted, image.objectsNumber);
    if (this.image?.index !== image.index) return true;
    told.objects ??= this.image.objects;
    told.suggested ??= this.image.suggested;
    told.beside ??= this.image.beside;
    this.image = told;
    if (this.answers && this.answers.number !== told.number) this.answers = null;
    this.does.image(told);
    this.ask();
    return true;
  }

  // Ask for the masks of the present prompt: at once what is at hand, then what a closer look says.
  async ask() {
    const { index, number, clicks, box } = this.image, asked = ++this._asked, strength = this.strength;
    if (!clicks.length && !box) {
      this.does.waiting(false);
      this.does.answers(null);
      return;
    }
    const isPresent = () => asked === this._asked && this.image.index === index && this.image.number === number;
    this.does.waiting(true);
    try {
      for (const quick of [true, false]) {
        const told = await api.ask(index, { number, strength, quick });
        if (!isPresent()) return;
        if (told.isStale) break;
        this.answers = told;
        this.does.answers(told);
        if (told.isFinal) break;
      }
    } catch (error) {
      if (isPresent()) this.does.failed(error);
    }
    if (isPresent()) this.does.waiting(false);
  }
}
