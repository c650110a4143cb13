import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, it } from 'node:test'
import { requireFreePorts } from './free-ports.ts'

describe('ports that workers are to share', () => {
  it('are refused where another process has them, even one that would share', async () => {
    const other = createServer()
    other.listen({ host: '127.0.0.1', port: 0, reusePort: true })
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    await assert.rejects(requireFreePorts([{ address: '127.0.0.1', port }]), {
      code: 'UNAVAILABLE',
      message: `another process listens at 127.0.0.1:${port}`,
      hint: /^ss -ltnp 'sport = :\d+' shows which/,
    })
    other.close()
    await once(other, 'close')
    await requireFreePorts([{ address: '127.0.0.1', port }])
  })

  it('on an address that is not ours are told as such', async () => {
    await assert.rejects(requireFreePorts([{ address: '203.0.113.1', port: 9042 }]), {
      code: 'UNAVAILABLE',
      hint: 'the address is none of this host',
    })
  })

  it('0 and sockets take what is free', async () => {
    await requireFreePorts([
      { address: '127.0.0.1', port: 0 },
      { address: 'unix:/run/none.sock', port: 0 },
    ])
  })
})
