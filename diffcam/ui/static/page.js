// The page: one photo, one focus point, one camera at a time.

const find = (id) => document.getElementById(id);
const [stage, before, after, marker, divider] = ["stage", "before", "after", "marker", "divider"].map(find);
const [status, progress, drop, controls, compare] = ["status", "progress", "drop", "controls", "compare"].map(find);

let photo = null; // what the server said of the open photo
let focus = null; // [x, y], fractions from the top left
let wanted = null; // the camera to solve next; clicks while the server works replace it
let solving = false;

function say(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("diffcam does not answer; is it still running?");
  }
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

async function send(path, file) {
  const { max_upload } = await ask("/settings");
  if (file.size > max_upload) {
    throw new Error(`${file.name}: ${Math.round(file.size / 1e6)} MB are more than the ${max_upload / 1e6} MB that are taken`);
  }
  return ask(path, { method: "POST", body: file, headers: { "X-File-Name": encodeURIComponent(file.name) } });
}

async function show(image, url) {
  image.src = url;
  await image.decode();
}

async function openPhoto(file) {
  say(`Opening ${file.name} …`);
  try {
    const opened = await send("/photos", file);
    await show(before, `/photos/${opened.key}/photo`);
    photo = opened;
  } catch (error) {
    say(error.message, true);
    return;
  }
  [focus, wanted] = [null, null];
  drop.hidden = true;
  for (const part of [after, marker, divider, find("download")]) part.hidden = true;
  stage.hidden = controls.hidden = false;
  [compare.disabled, compare.value] = [true, 0];
  find("depth").value = "";
  fit();
  stage.focus();
  say([`${photo.name}, ${photo.width} × ${photo.height}`, ...photo.notes].join(" · "));
}

// As large as the room allows, in the photo's own aspect.
function fit() {
  if (!photo) return;
  const room = document.querySelector("main").getBoundingClientRect();
  const scale = Math.min((room.width - 32) / photo.width, (room.height - 16) / photo.height);
  stage.style.width = `${photo.width * scale}px`;
  stage.style.height = `${photo.height * scale}px`;
}

function place(point) {
  focus = point.map((value) => Math.min(Math.max(value, 0), 1));
  marker.hidden = false;
  marker.style.left = `${focus[0] * 100}%`;
  marker.style.top = `${focus[1] * 100}%`;
}

function refocus(bokeh = Number(find("bokeh").value)) {
  if (!photo || !find("controls").reportValidity()) return;
  const [steps, seed] = [Number(find("steps").value), Number(find("seed").value)];
  wanted = { key: photo.key, camera: { focus: focus ?? [0.5, 0.5], bokeh, steps, seed } };
  if (!solving) work();
}

async function work() {
  solving = true;
  while (wanted) {
    const { key, camera } = wanted;
    wanted = null;
    try {
      await solve(key, camera);
    } catch (error) {
      say(error.message, true);
    }
  }
  solving = false;
}

async function solve(key, camera) {
  say("Refocusing …");
  [progress.hidden, progress.value] = [false, 0];
  const watching = setInterval(async () => {
    const { step } = await ask(`/photos/${key}/progress`).catch(() => ({ step: 0 }));
    progress.value = step / camera.steps;
  }, 400);
  try {
    const body = JSON.stringify(camera);
    const { version, record } = await ask(`/photos/${key}/refocus`, { method: "POST", body });
    if (key !== photo.key) return; // another photo was opened meanwhile
    await show(after, `/photos/${key}/result?version=${version}`);
    after.hidden = divider.hidden = compare.disabled = false;
    split();
    const download = find("download");
    [download.hidden, download.href] = [false, `/photos/${key}/download?version=${version}`];
    say(record.bokeh === 0 ? "All in focus." : `Blur ${record.bokeh}, sharp at ${percent(record.focus)}.`);
  } finally {
    clearInterval(watching);
    progress.hidden = true;
  }
}

const percent = ([x, y]) => `${Math.round(x * 100)} % from the left, ${Math.round(y * 100)} % from the top`;

function split() {
  after.style.clipPath = `inset(0 0 0 ${compare.value}%)`;
  divider.style.left = `${compare.value}%`;
  divider.hidden = after.hidden || compare.value === "0" || compare.value === "100";
}

stage.addEventListener("click", (event) => {
  const box = stage.getBoundingClientRect();
  place([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
  refocus();
});

stage.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-0.01, 0], ArrowRight: [0.01, 0], ArrowUp: [0, -0.01], ArrowDown: [0, 0.01] };
  const move = moves[event.key];
  if (move) {
    const [x, y] = focus ?? [0.5, 0.5];
    place([x + move[0], y + move[1]]);
  } else if (event.key === "Enter") {
    place(focus ?? [0.5, 0.5]);
    refocus();
  } else {
    return;
  }
  event.preventDefault();
});

find("bokeh").addEventListener("input", () => { find("bokeh-value").textContent = find("bokeh").value; });
for (const id of ["bokeh", "steps", "seed"]) {
  find(id).addEventListener("change", () => { if (focus) refocus(); });
}
find("all-in-focus").addEventListener("click", () => refocus(0));
compare.addEventListener("input", split);

find("depth").addEventListener("change", async ({ target }) => {
  if (!target.files.length) return;
  try {
    say(`Reading ${target.files[0].name} …`);
    await send(`/photos/${photo.key}/depth`, target.files[0]);
    say("The depth map is in use.");
    if (focus) refocus();
  } catch (error) {
    target.value = "";
    say(error.message, true);
  }
});

find("file").addEventListener("change", ({ target }) => {
  if (target.files.length) openPhoto(target.files[0]);
  target.value = "";
});
find("another").addEventListener("click", () => find("file").click());
find("controls").addEventListener("submit", (event) => event.preventDefault());

addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) openPhoto(event.dataTransfer.files[0]);
});
addEventListener("resize", fit);

// The steps that the model is meant for.
ask("/settings").then(({ steps }) => { find("steps").value = steps; }, (error) => say(error.message, true));
