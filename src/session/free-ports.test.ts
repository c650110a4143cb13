import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

  it('are refused where another process listens at a socket, whose clients it would lose', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'free-ports-'))
    const path = join(folder, 'a.sock')
    const listener = { address: `unix:${path}`, port: undefined }
    const other = createServer((socket) => socket.destroy())
    other.listen(path)
    await once(other, 'listening')
    await assert.rejects(requireFreePorts([listener]), {
      code: 'UNAVAILABLE',
      message: `another process listens at the socket ${path}`,
      hint: /^ss -lxp .* shows which; stop it, or choose another path/,
    })
    other.close()
    await once(other, 'close')
    await requireFreePorts([listener])
    // As after a crash: the name is there, and nobody behind it.
    const crash = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', crash])
    assert.ok(existsSync(path))
    await requireFreePorts([listener])
    // What is no socket is the listener's to refuse.
    const file = join(folder, 'file')
    writeFileSync(file, 'precious')
    await requireFreePorts([{ address: `unix:${file}`, port: undefined }])
    rmSync(folder, { recursive: true })
  })

  it('0 and sockets take what is free', async () => {
    await requireFreePorts([
      { address: '127.0.0.1', port: 0 },
      { address: 'unix:/run/none.sock', port: 0 },
    ])
  })
})
