import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { envelopeHeaderBytes, Opcode } from './protocol.ts'
import { BodyWriter } from './writer.ts'

describe('a body that grows', () => {
  it('loses no byte where its memory ends, whatever is written there', () => {
    const writes: readonly ((body: BodyWriter) => BodyWriter)[] = [
      (body) => body.byte(0xa5),
      (body) => body.short(0xa5a5),
      (body) => body.int(0x25a5a5a5),
      (body) => body.long(0x25a5a5a5a5a5a5a5n),
      (body) => body.string('x'),
      (body) => body.longString('x'),
      (body) => body.bytes(Buffer.from('x')),
    ]
    for (const write of writes) {
      const alone = write(new BodyWriter()).envelope(4, 0, Opcode.BATCH).subarray(envelopeHeaderBytes)
      for (let before = 0; before < 1100; before++) {
        const body = new BodyWriter()
        for (let i = 0; i < before; i++) body.byte(i & 0xff)
        const written = write(body).envelope(4, 0, Opcode.BATCH).subarray(envelopeHeaderBytes)
        assert.equal(written.length, before + alone.length)
        for (let i = 0; i < before; i++) assert.equal(written[i], i & 0xff, `byte ${i} of ${before}`)
        assert.deepEqual(written.subarray(before), alone, `behind ${before} bytes`)
      }
    }
  })
})
