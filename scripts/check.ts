/** `npm run check`: everything that needs no real part. */
import { conclude, newTally, runChecks } from './runs.ts'

const tally = newTally()
await runChecks(tally)
process.exitCode = conclude(tally)
