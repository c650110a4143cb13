/**
 * Loaded before a role that stays, in each of its processes and threads. It lets V8's optimising compilers rest before there is much to compile
 * (src/telemetry/optimiser.ts). And it gives Node.js the program's code out of the file that `pack.mjs` made, so that no types are stripped; what is
 * loaded later, when it is first needed, comes from there too.
 *
 * Without the file all works as well, with 30 MB more.
 */
import { openSync, readSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { isMainThread } from 'node:worker_threads'

/** The file begins with the length of its list, in so many characters. */
const lengthChars = 12

const { RINGFENCE_CODE: file = '' } = process.env

try {
  const fd = openSync(file)
  const read = (at, length) => {
    const bytes = Buffer.allocUnsafeSlow(length)
    readSync(fd, bytes, 0, length, at)
    return bytes.latin1Slice()
  }
  const listLength = Number(read(0, lengthChars))
  const places = new Map(Object.entries(JSON.parse(read(lengthChars, listLength))))
  const begin = lengthChars + listLength
  registerHooks({
    load(url, context, next) {
      const place = places.get(url)
      if (place === undefined) return next(url, context)
      const [at, length] = place
      return { format: 'module', source: read(begin + at, length), shortCircuit: true }
    },
  })
} catch {
  // It was not made, or is gone.
}

// A thread comes with the first client, who is what the compilers rest until.
if (isMainThread) (await import('../src/telemetry/optimiser.ts')).restOptimiser()
