// Okabe and Ito's colours, which stay apart for colour-blind readers; those of the report.

export const TUNED = [0, 132, 220];
export const BASE = [230, 159, 0];
export const HAND = [204, 121, 167];
export const SHARED = [150, 150, 150];
const CLASSES = [[0, 158, 115], [86, 180, 233], [240, 228, 66], [213, 94, 0], [170, 110, 220], [0, 190, 190]];

export const ofClass = (names, name) => CLASSES[Math.max(0, names.indexOf(name)) % CLASSES.length];
export const css = (colour) => `rgb(${colour.join()})`;
