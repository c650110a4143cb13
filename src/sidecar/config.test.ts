/** What a sidecar's document says of its record: what goes together, and what does not. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseSidecarConfig } from './config.ts'

const document = (audit: string): string => `apiVersion: ringfence.dev/v1alpha1
kind: Sidecar
metadata: { name: s1 }
spec:
  control: { url: https://127.0.0.1:8443 }
  upstream: { address: 127.0.0.1 }
  listeners: [{ address: 127.0.0.1, port: 9142 }]
  audit: { directory: audit${audit} }
`

describe('the record in the document of a sidecar', () => {
  for (const audit of ['', ', format: sealed', ', format: sealed, collect: true, keepMegabytesMax: 20000']) {
    it(`may be {directory: audit${audit}}`, () => {
      assert.equal(parseSidecarConfig(document(audit), 's.yaml').audit.directory, 'audit')
    })
  }
  for (const [audit, told] of [
    [', collect: true', /s\.yaml:8:\d+: spec\.audit\.collect: only a sealed record is collected/],
    [', format: lines, collect: true', /only a sealed record is collected/],
    [', format: sealed, keepMegabytesMax: 5', /spec\.audit\.keepMegabytesMax: only what is collected is removed/],
    [', format: sealed, collect: true, keepMegabytesMax: 0', /spec\.audit\.keepMegabytesMax/],
  ] as const) {
    it(`may not be {directory: audit${audit}}`, () => {
      assert.throws(() => parseSidecarConfig(document(audit), 's.yaml'), { code: 'CONFIG', message: told })
    })
  }
})
