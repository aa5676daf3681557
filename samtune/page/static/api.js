// Requests to the session.

import { send } from "./transport.js";

export class Refused extends Error {}

async function request(path, body) {
  let answer;
  try {
    answer = await send(path, body);
  } catch {
    throw new Refused("samtune does not answer: is it still running?");
  }
  if (answer.status === 200) return answer.body;
  const told = await answer.body.text().then(JSON.parse).catch(() => ({}));
  throw new Refused(told.error || `the request failed (${answer.status})`);
}

const ask = async (path, body) => JSON.parse(await (await request(path, body)).text());

export const api = {
  session: () => ask("api/session"),
  addClass: (name) => ask("api/classes", { name }),
  rounds: (what) => ask("api/rounds", { do: what }),
  image: (index) => ask(`api/images/${index}`),
  act: (index, action, known) => ask(`api/images/${index}/act?known=${known}`, action),
  ask: (index, question) => ask(`api/images/${index}/ask`, question),
  picture: async (index) => createImageBitmap(await request(`api/images/${index}/picture.png`)),
  plane: (axis, number) => ask(`api/planes/${axis}/${number}`),
  planePicture: async (axis, number) => createImageBitmap(await request(`api/planes/${axis}/${number}/picture.png`)),
  cutout: (index, number) => request(`api/images/${index}/objects/${number}.png`),
};
