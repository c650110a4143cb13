/** Where a browser goes back to after its log-in: a page of the application's own, and nothing that leads elsewhere. */

const otherwise = '/'

/** @param wanted by whoever wrote the link: a stranger, perhaps */
export function returnPath(wanted: string | null): string {
  if (wanted === null || !/^\/[\x21-\x7e]*$/.test(wanted)) return otherwise
  const url = URL.parse(wanted, 'http://application')
  if (url === null || url.host !== 'application') return otherwise
  const path = url.pathname + url.search
  // Of what was read, and not of what was given: browsers take `/.//host` for `//host`, which is another host.
  return /^\/(?:[/\\]|\.ringfence(?:[/?]|$))/.test(path) ? otherwise : path
}
