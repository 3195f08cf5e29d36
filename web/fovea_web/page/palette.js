/** Colours of things, the same as in `fovea_client.draw`. */

const PALETTE = [
  [255, 92, 57], [0, 174, 239], [124, 196, 0], [255, 176, 0],
  [178, 102, 255], [0, 196, 154], [255, 77, 148], [92, 124, 250],
];
const LIGHT_LUMA = 150;

export const colourOf = (index) => PALETTE[index % PALETTE.length];

export const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;

/** Ink that is readable on a colour. */
export function inkOn([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > LIGHT_LUMA ? "#101010" : "#fff";
}
