/**
 * V8's optimising compilers rest until there is somebody to be quick for. A start is much code that runs once or twice, and optimising it
 * leaves some 20 MB in a process that may then stand idle for days: pages of the compilers, and holes in the C library's heap.
 *
 * V8 reads these flags each time that it decides about a function. They are on when it starts, for what works beside the main thread is made
 * then or never (`MaglevConcurrentDispatcher`).
 */
import { setFlagsFromString } from 'node:v8'

const compilers = ['opt', 'maglev'] as const
let resting = false

/** For a role that stays, before it loads what it needs. */
export function restOptimiser(): void {
  resting = true
  for (const compiler of compilers) setFlagsFromString(`--no-${compiler}`)
}

/** The first client is here. Cheap when called again. */
export function wakeOptimiser(): void {
  if (!resting) return
  resting = false
  for (const compiler of compilers) setFlagsFromString(`--${compiler}`)
}
