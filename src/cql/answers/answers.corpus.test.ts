import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { javaDriver, pythonDriver } from '../fixtures.ts'
import { exerciseRewrites, fuzz } from './answers.fuzz.ts'
import { driverEncode, rowsAnswer, samples, versions } from './driver.fixture.ts'

// The same files as for the decoders: what once was worth keeping there is worth rewriting here.
const corpus = new URL('../corpus/', import.meta.url)

describe('rewriting', () => {
  for (const file of readdirSync(corpus).sort()) {
    it(`throws nothing but RingfenceError: ${file}`, () => {
      const text = readFileSync(new URL(file, corpus), 'utf8').replaceAll(/#.*$/gm, '')
      exerciseRewrites(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
    })
  }

  it('throws nothing but RingfenceError on what drivers wrote', () => {
    const captures = [...javaDriver.responses, ...javaDriver.requests, ...pythonDriver.requests]
    for (const { hex } of captures) exerciseRewrites(Buffer.from(hex, 'hex'))
  })

  it('throws nothing but RingfenceError on an answer with every type, cut at each byte', () => {
    for (const version of versions) {
      const columns = samples.map(({ type }, i) => ({ name: `c${i}`, type }))
      // Each column alone, so that every cut is inside something else.
      for (const [i, { type, value }] of samples.entries()) {
        const answer = rowsAnswer(version, { columns: [columns[i]!], rows: [[driverEncode(version, type, value)]] })
        for (let end = 9; end <= answer.length; end++) exerciseRewrites(answer.subarray(0, end))
      }
    }
  })

  it('of random answers is read by the driver, of broken ones throws nothing but RingfenceError', () => {
    assert.ok(fuzz({ seconds: 1, seed: 1 }).runs > 50)
  })
})
