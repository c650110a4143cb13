import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { tokenSourceOf } from './identity-token.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringfence-identity-token-'))
after(() => rmSync(folder, { recursive: true }))
const [identityTokenFile, trustBundle] = [join(folder, 'token'), join(folder, 'bundle.pem')]
writeFileSync(trustBundle, 'roots')

describe('the token of an agent', () => {
  it('is what the file has at each time, or what the command prints, without blanks around', async () => {
    const byFile = tokenSourceOf({ identityTokenFile, trustBundle })
    for (const token of ['first', 'second']) {
      writeFileSync(identityTokenFile, `${token}\n`)
      assert.equal(await byFile?.token(), token)
      const byCommand = tokenSourceOf({ identityTokenCommand: `cat '${identityTokenFile}'`, trustBundle })
      assert.equal(await byCommand?.token(), token)
    }
    assert.equal(byFile?.trustBundlePem(), 'roots')
    assert.equal(tokenSourceOf({}), undefined)
  })

  it('is missing in words that do not quote it', async () => {
    const identityTokenCommand = (script: string) =>
      tokenSourceOf({ identityTokenCommand: script, trustBundle })?.token()
    await assert.rejects(async () => identityTokenCommand('echo secret; exit 3'), {
      code: 'UNAVAILABLE',
      message: 'the command of --identity-token-command ended with 3',
    })
    await assert.rejects(async () => identityTokenCommand('true'), { code: 'UNAVAILABLE', message: /no token yet/ })
    const long = 'head -c 70000 /dev/zero | tr "\\0" s'
    await assert.rejects(async () => identityTokenCommand(long), { code: 'IDENTITY', message: /authMessageBytesMax/ })
    const endless = 'cat /dev/zero | tr "\\0" s'
    await assert.rejects(async () => identityTokenCommand(endless), { code: 'UNAVAILABLE', message: /ended|too much/ })
    const away = tokenSourceOf({ identityTokenFile: join(folder, 'none'), trustBundle })
    await assert.rejects(async () => away?.token(), /cannot be read/)
  })

  it('is not shown where it is not said to whom', () => {
    assert.throws(() => tokenSourceOf({ identityTokenFile }), {
      code: 'USAGE',
      message: /these roots only: --trust-bundle/,
    })
    assert.throws(() => tokenSourceOf({ trustBundle }), { code: 'USAGE', message: /--trust-bundle is for/ })
    const both = { identityTokenFile, identityTokenCommand: 'true', trustBundle }
    assert.throws(() => tokenSourceOf(both), { code: 'USAGE', message: /exclude each other/ })
  })
})
