import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ofParty, Questions } from './asking.ts'
import { loadPolicy } from './load.ts'
import { unpaced } from './pace.ts'
import { access, cedar, orders } from './policy.fixture.ts'
import { neutralRequest } from './request.ts'
import { Unmasking } from './unmasking.ts'
import { Verdicts } from './verdicts.ts'

const tables = ['t', 'u'] as const
const columns = ['a', 'a1', 'ab', 'b', 'b1', 'c', '\ud800', '']

function verdictsOf(...documents: string[]): Verdicts {
  return new Verdicts(loadPolicy(documents.join('\n---\n'), 'p.yaml'), { principalViewsMax: 10, answersMax: 1_000 })
}

/** What is asked, and how often the verdicts were. */
function ask(verdicts: Verdicts, repeats: number): { answers: Record<string, boolean>; judged: number } {
  const all = {
    view: verdicts.viewOf(orders),
    request: neutralRequest,
    schema: undefined,
    conditional: false,
    questions: new Questions(1_000),
    pace: unpaced,
  }
  const asking = ofParty(all, 0)
  let judged = 0
  const counting = {
    policy: verdicts.policy,
    judgeParty: (...asked: Parameters<Verdicts['judgeParty']>) => {
      judged++
      return verdicts.judgeParty(...asked)
    },
  }
  const unmasking = new Unmasking(counting, asking, () => {})
  const answers: Record<string, boolean> = {}
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const table of tables) {
      for (const column of columns) {
        const access = {
          permission: 'UNMASK',
          resource: { kind: 'table', keyspace: 'k', table },
          columns: [column],
        } as const
        const key = `${table}.${column}`
        const plain = verdicts.judge({ ...all, questions: new Questions(1_000) }, access).outcome === 'allowed'
        const may = unmasking.may(access)
        assert.equal(may, plain, key)
        answers[key] = may
      }
    }
  }
  return { answers, judged }
}

describe('unmasking', () => {
  const rule = (name: string, spec: object) => access(name, { keyspaces: ['k'], operations: ['UNMASK'], ...spec })

  it('is as the verdict on each column says', () => {
    const some = verdictsOf(rule('p', { tables: ['t'], columns: ['a*', 'c'] }), rule('q', { columns: ['b'] }))
    const { answers } = ask(some, 2)
    assert.deepEqual(
      Object.keys(answers).filter((key) => answers[key] === true),
      ['t.a', 't.a1', 't.ab', 't.b', 't.c', 'u.b'],
    )
    const inCedar = cedar('c', 'permit (principal, action == Action::"UNMASK", resource == Column::"k.t.a1");')
    ask(verdictsOf(inCedar), 2)
    ask(verdictsOf(rule('d', { effect: 'deny', columns: ['a*'] }), rule('e', {})), 2)
    ask(verdictsOf(rule('o', { mode: 'observe', columns: ['a*'] })), 2)
  })

  it('asks once for all columns of a table that no rule tells apart', () => {
    const verdicts = verdictsOf(rule('p', { columns: ['a*'] }))
    // `a*`, the others, and the name that is none, of each of two tables.
    assert.equal(ask(verdicts, 1).judged, 2 * 3)
  })
})
