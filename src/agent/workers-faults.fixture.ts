/**
 * A worker for workers-faults.test.ts. It throws where the text of the policy says, the first of two workers only, and reports how many
 * faults were contained in it (`connections`) and where the last one was (`dataCenter`).
 */
import { faultsContained, reportFaults } from '../base/contained.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { allPushedKinds, pushedKinds } from '../mesh/pushed.ts'
import { connectWorker } from './worker-feed.ts'

const isFirst = process.env.RINGFENCE_WORKER === '0'
// The fixture says itself how it ends by a fault that nothing contains.
process.on('uncaughtException', () => process.exit(70))
const known = process.env.RINGFENCE_KNOWN
const kinds = known === undefined ? allPushedKinds : allPushedKinds.filter(({ name }) => known.includes(name))
const feed = await connectWorker(undefined, kinds)
const policy = feed.value(pushedKinds.policy)
let where = ''
/** The text of the policy that was obeyed, so that each is obeyed once. */
let obeyed = ''
reportFaults((place) => {
  where = place
})

function failIf(fault: string): void {
  if (!isFirst || policy.current.source !== fault || obeyed === fault) return
  obeyed = fault
  throw new TypeError('a fault of our own')
}

policy.observe(() => failIf('an observer'))
policy.observe(({ source }) => {
  if (source === 'nothing contains it') setImmediate(() => failIf(source))
})
let calls = 0
feed.setReporter(() => {
  failIf('the report of a value')
  // The first report after a value is sent with it, the second by the timer.
  if (policy.current.source !== 'the timer of reports') calls = 0
  else if (calls++ > 0) failIf('the timer of reports')
  const report: ProxyReport = {
    policyRevision: policy.current.revision,
    connections: faultsContained(),
    sessions: 1,
    upstreamConnections: 0,
    dataCenter: where,
    advertise: [{ address: '10.0.0.1', port: 9042 }],
    listeners: [],
    traffic: [],
  }
  const isBad = isFirst && policy.current.source === 'what a worker says' && obeyed !== policy.current.source
  if (!isBad) return report
  obeyed = policy.current.source
  return { ...report, traffic: undefined as never }
})
process.on('SIGTERM', () => void feed.stop().then(() => process.exit(0)))
