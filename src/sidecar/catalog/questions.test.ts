import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BytesBudget } from '../../base/bytes-budget.ts'
import { limits } from '../../base/limits.ts'
import { queryEnvelope } from '../../cql/encode.ts'
import { analyse } from '../../cql/statement/analyse.ts'
import type { Request } from '../request.ts'
import { takeRequest } from '../request.ts'
import { type Asker, type QuestionHost, SchemaQuestions } from './questions.ts'

const text = 'SELECT count(*) FROM system_schema.tables'
const envelope = queryEnvelope(4, 1, text)

function question(): Request {
  const request = takeRequest().arrive({} as never, {} as never, envelope, 0, envelope.length)
  request.judged = { text, facts: analyse(text) } as never
  return request
}

describe('questions about the schema that wait', () => {
  it('are of one identity no more than there is room left for others, over all its sessions', () => {
    const asks: unknown[] = []
    const questions = new SchemaQuestions({
      // The node does not answer.
      ask: (asked: Buffer) => new Promise(() => asks.push(asked)),
      transactions: { begun() {} },
      turn: { nowMicros: () => 0 },
    } as unknown as QuestionHost)
    const budget = new BytesBudget()
    const session = (share: object): Asker =>
      ({
        client: { account: budget.open('a', '1') },
        identity: { share },
        version: 4,
        questionsWaiting: 0,
        onFault: (reason: unknown) => assert.fail(String(reason)),
      }) as unknown as Asker
    /** How many are taken of what as many sessions ask as would take all. */
    const taken = (share: object): number => {
      let count = 0
      for (let at = 0; at < limits.schemaQuestionsMax / limits.schemaQuestionsPerSessionMax + 1; at++) {
        const asker = session(share)
        for (let each = 0; each <= limits.schemaQuestionsPerSessionMax; each++) {
          try {
            questions.take(asker, question())
            count++
          } catch (reason) {
            assert.equal((reason as { code?: unknown }).code, 'OVERLOADED')
          }
        }
      }
      return count
    }
    const max = limits.schemaQuestionsMax
    assert.deepEqual([taken({}), taken({}), taken({})], [max / 2, max / 4, max / 8])
  })
})
