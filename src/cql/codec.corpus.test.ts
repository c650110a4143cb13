import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { exerciseEnvelope, exerciseStream, fuzz } from './codec.fuzz.ts'

// A file is what a fuzzer or a person once found worth keeping: bytes in hexadecimal, `#` begins a comment.
const corpus = new URL('corpus/', import.meta.url)

describe('the corpus', () => {
  for (const file of readdirSync(corpus).sort()) {
    it(`throws nothing but RingfenceError: ${file}`, () => {
      const text = readFileSync(new URL(file, corpus), 'utf8').replaceAll(/#.*$/gm, '')
      const bytes = Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
      assert.ok(bytes.length > 0)
      exerciseStream(bytes)
      exerciseEnvelope(bytes)
    })
  }
})

describe('mutations of captured messages', () => {
  it('throw nothing but RingfenceError', () => {
    assert.ok(fuzz({ seconds: 1, seed: 1 }).runs > 0)
  })
})
