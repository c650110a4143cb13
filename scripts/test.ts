/** `npm test`: the checks, then the fuzzers for a few seconds, then the suites on real NGINX, Cassandra and drivers, one after another. */
import { setUpParts } from '../demo/parts/setup.ts'
import { RingfenceError } from '../src/base/errors.ts'
import { holdMesh } from '../test/e2e/held.ts'
import { conclude, filesOf, newTally, runChecks, runTests } from './runs.ts'

/** Suites that break the mesh come last, so that nothing they leave behind is another suite's trouble. */
const disturbing = /attack|bad-input|fault/

const tally = newTally()
try {
  await setUpParts({})
  await runChecks(tally)
  await runTests(tally, 'fuzzers', filesOf('src/**/*.fuzz.ts'), 2)
  const [endToEnd, others] = split(filesOf('test/**/*.test.ts', 'bench/**/*.test.ts'), /^test\/e2e\/.*\.e2e\.test\.ts$/)
  await runTests(tally, 'parts of the path', others, 1)
  const mesh = await holdMesh()
  try {
    const [breaking, quiet] = split(endToEnd, disturbing)
    await runTests(tally, 'end to end', [...quiet, ...breaking], 1)
  } finally {
    await mesh.close()
  }
} catch (reason) {
  if (!(reason instanceof RingfenceError)) throw reason
  console.error(`× ${reason.message}${reason.hint === undefined ? '' : `\n  ${reason.hint}`}`)
  tally.failed += 1
}
// Nothing of ours is left that would keep the process; what a library keeps open must not either.
process.exit(conclude(tally))

/** Those that match, and the others. */
function split(files: readonly string[], pattern: RegExp): [string[], string[]] {
  return [files.filter((file) => pattern.test(file)), files.filter((file) => !pattern.test(file))]
}
