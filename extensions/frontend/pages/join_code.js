/** The code in a link's fragment, which browsers send to no server; "" if there is none. */
export function codeIn(hash) {
  const found = new URLSearchParams(hash.slice(1)).get("code") ?? hash.slice(1);
  return /^[A-Za-z0-9-]{12,20}$/.test(found) ? found.toUpperCase() : "";
}
