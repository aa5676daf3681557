// How a request gets to the session: here, over HTTP to the server that the page came from. Addresses are
// relative: the token in the page's own address begins them all. The widget has another one.

// Resolves to { status, body }, the body as a Blob.
export async function send(path, body) {
  const how = body === undefined
    ? {}
    : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await fetch(path, how);
  return { status: response.status, body: await response.blob() };
}
