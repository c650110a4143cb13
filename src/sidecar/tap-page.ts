/** The page of a sidecar's admin port that shows transactions as they happen. What it needs is loaded when somebody first asks for it. */
import type { Taps } from '../audit/tap.ts'
import type { Tapped } from '../audit/tapped.ts'
import { type AdminPage, plain } from '../mesh/admin/server.ts'

export interface TapPageOptions {
  readonly tapped: Tapped
  /** The sidecar's name. */
  readonly name: string
  /** Of the policy in force. */
  readonly revision: () => number
}

export function tapPage({ tapped, name, revision }: TapPageOptions): AdminPage {
  let taps: Taps | undefined
  return {
    method: 'GET',
    path: '/tap',
    help: 'transactions as they happen: ?person= &workload= &keyspace= &table= &verdict=deny &errors=true &slowMs=',
    answer: async ({ query, bySocket, gone }) => {
      if (!bySocket) return plain('this shows who does what: listen at unix:/… for this page', 403)
      const { tapFilterSchema, Taps, tapsMax } = await import('../audit/tap.ts')
      const filter = tapFilterSchema.safeParse(Object.fromEntries(query))
      if (!filter.success) {
        const words = filter.error.issues.map(({ path, message }) => [...path, message].join(': '))
        return plain(words.join('\n'), 400)
      }
      taps ??= new Taps({ tapped, proxy: name, revision })
      const body = taps.follow(filter.data, gone)
      if (body === undefined) return plain(`${tapsMax} look already, and there is no room for another`, 409)
      return { status: 200, type: 'application/x-ndjson', body }
    },
  }
}
