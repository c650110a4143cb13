/**
 * Loaded before a role that stays, in each of its processes and threads. It lets V8's optimising compilers rest before there is much to compile
 * (src/telemetry/optimiser.ts). And it gives Node.js the program's code out of the file that `pack.mjs` made, so that no types are stripped; what is
 * loaded later, when it is first needed, comes from there too, also where the sources are gone by then.
 *
 * Without the file all works as well, with 30 MB more.
 */
import { openSync, readSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { isMainThread } from 'node:worker_threads'
import { codeFile, digestChars, lengthChars } from './code.mjs'

const file = codeFile(process.env.RINGFENCE_CODE ?? '')

try {
  if (file !== undefined) readFrom(openSync(file))
} catch {
  // It is gone, or shorter than its list says.
}

// A thread comes with the first client, who is what the compilers rest until.
if (isMainThread) (await import('../src/telemetry/optimiser.ts')).restOptimiser()

function readFrom(fd) {
  const listLength = Number(read(digestChars, lengthChars))
  const places = new Map(Object.entries(JSON.parse(read(digestChars + lengthChars, listLength))))
  const begin = digestChars + lengthChars + listLength
  const rootUrl = new URL('..', import.meta.url).href
  const placeOf = (url) => (url.startsWith(rootUrl) ? places.get(url.slice(rootUrl.length)) : undefined)
  registerHooks({
    /** What is packed is found by its name alone, where it is no longer on disk. */
    resolve(name, context, next) {
      try {
        return next(name, context)
      } catch (error) {
        const url = name.startsWith('.') && context.parentURL ? new URL(name, context.parentURL).href : ''
        if (placeOf(url) === undefined) throw error
        return { url, format: 'module', shortCircuit: true }
      }
    },
    load(url, context, next) {
      const place = placeOf(url)
      const source = place === undefined ? undefined : read(begin + place[0], place[1])
      return source === undefined ? next(url, context) : { format: 'module', source, shortCircuit: true }
    },
  })

  /** Undefined where the file ends before. */
  function read(at, length) {
    const bytes = Buffer.allocUnsafeSlow(length)
    return readSync(fd, bytes, 0, length, at) === length ? bytes.latin1Slice() : undefined
  }
}
