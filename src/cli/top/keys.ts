/**
 * What a terminal sends, as keys. Several may come at once, and some are sequences (ECMA-48 CSI and SS3), of which only arrows say anything.
 *
 * Rule: a sequence that says nothing is dropped whole, or its letters would be taken for keys.
 */
export function keysIn(text: string): string[] {
  const keys = text.match(/\u001b\[[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]|\u001bO[\s\S]|[\s\S]/gu) ?? []
  return keys
    .map((key) => key.replace(/^\u001bO(?=[A-D]$)/, '\u001b['))
    .filter((key) => key === '\u001b' || !key.startsWith('\u001b') || /^\u001b\[[A-D]$/.test(key))
}
