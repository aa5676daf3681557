// Requests to the server. Addresses are relative: the token in the page's own address begins them all.

export class Refused extends Error {}

async function request(path, body) {
  const how = body === undefined
    ? {}
    : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  let response;
  try {
    response = await fetch(path, how);
  } catch {
    throw new Refused("samtune does not answer: is it still running in its terminal?");
  }
  const told = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(told.error || `the request failed (${response.status})`);
  return told;
}

export const api = {
  session: () => request("api/session"),
  addClass: (name) => request("api/classes", { name }),
  rounds: (what) => request("api/rounds", { do: what }),
  image: (index) => request(`api/images/${index}`),
  act: (index, action, known) => request(`api/images/${index}/act?known=${known}`, action),
  ask: (index, question) => request(`api/images/${index}/ask`, question),
  cutoutPath: (index, number) => `api/images/${index}/objects/${number}.png`,
  async picture(index) {
    const response = await fetch(`api/images/${index}/picture.png`);
    if (!response.ok) throw new Refused((await response.json().catch(() => ({}))).error || "no picture");
    return createImageBitmap(await response.blob());
  },
};
