/**
 * A start leaves megabytes of garbage, and V8 has no cause to collect them while nothing happens afterwards. So a thread collects once,
 * when all that it needs is loaded and before it has much to do; it stands still for some 20 ms.
 */
export function collectStartGarbage(): void {
  // There where `bin/command.mjs` started the process; elsewhere memory is not short.
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
