// The page in a notebook: the same modules in a frame of their own, with the kernel behind them.

function moduleAddresses(files) {
  const imports = {};
  for (const [name, text] of Object.entries(files)) {
    if (!name.endsWith(".js")) continue;
    imports[`samtune/${name}`] = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  }
  return imports;
}

function documentOf(files, imports) {
  const made = new DOMParser().parseFromString(files["index.html"], "text/html");
  for (const element of made.querySelectorAll("link, script")) element.remove();
  const style = made.createElement("style");
  style.textContent = files["style.css"];
  const map = made.createElement("script");
  map.type = "importmap";
  map.textContent = JSON.stringify({ imports });
  const main = made.createElement("script");
  main.type = "module";
  main.textContent = 'import "samtune/main.js";';
  made.head.append(style, map, main);
  return `<!doctype html>${made.documentElement.outerHTML}`;
}

function render({ model, el }) {
  const files = model.get("files"), imports = moduleAddresses(files);
  const frame = document.createElement("iframe");
  frame.title = "samtune";
  frame.style.cssText = `width: 100%; height: ${model.get("height")}px; border: 1px solid #8884; border-radius: 8px;`;
  frame.srcdoc = documentOf(files, imports);
  const asked = (event) => {
    if (event.source !== frame.contentWindow || !event.data?.samtune) return;
    model.send({ number: event.data.samtune, path: event.data.path, body: event.data.body });
  };
  const answered = (message, buffers) => {
    const body = buffers[0] instanceof DataView ? buffers[0].buffer.slice(buffers[0].byteOffset, buffers[0].byteOffset + buffers[0].byteLength) : buffers[0];
    frame.contentWindow?.postMessage({ answers: message.number, status: message.status, kind: message.kind, body }, "*");
  };
  window.addEventListener("message", asked);
  model.on("msg:custom", answered);
  el.append(frame);
  return () => {
    window.removeEventListener("message", asked);
    model.off("msg:custom", answered);
    for (const address of Object.values(imports)) URL.revokeObjectURL(address);
  };
}

export default { render };
