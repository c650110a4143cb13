/** What asks servers outside is loaded by those processes only that ask. */
import assert from 'node:assert/strict'
import { registerHooks } from 'node:module'
import { describe, it } from 'node:test'
import { LogInRefused } from '../refusal.ts'
import { Outside } from './outside.ts'

const loaded: string[] = []
registerHooks({
  load(url, context, next) {
    const name = /\/(aws\/sts|kubernetes\/token-review)\.ts$/.exec(url)?.[1]
    if (name !== undefined) loaded.push(name)
    return next(url, context)
  },
})

describe('what asks servers outside', () => {
  it('is not loaded where nobody is asked, whatever providers are in force', () => {
    Outside.none.prepare({ sts: true, tokenReviews: true })
    assert.deepEqual(loaded, [])
  })

  it('is loaded with the first provider that is decided so, each by itself', () => {
    const refuse = (): Promise<never> => Promise.reject(new LogInRefused('verifier-away', 'away'))
    const outside = new Outside({ sts: refuse, tokenReview: refuse })
    outside.prepare({ sts: false, tokenReviews: false })
    assert.deepEqual(loaded, [])
    outside.prepare({ sts: true, tokenReviews: false })
    assert.deepEqual(loaded, ['aws/sts'])
    outside.prepare({ sts: true, tokenReviews: true })
    assert.deepEqual(loaded, ['aws/sts', 'kubernetes/token-review'])
  })
})
