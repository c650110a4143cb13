import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { returnPath } from './return-path.ts'

const site = 'https://shop.example.com'
/** Where a browser goes that is sent there. */
const landing = (path: string): URL => new URL(path, `${site}/.ringfence/callback`)

describe('where a log-in leads back to', () => {
  it('is the page that was asked for', () => {
    for (const path of [
      '/',
      '/orders?page=2',
      '/a/b/?q=//x',
      '/a//b',
      '/orders?next=https://x',
      '/.ringfences',
      '/.well-known/x',
      '/%2f%2fx',
      '/a%0d%0ab',
      '/~alice/@b:c',
    ])
      assert.equal(returnPath(path), path)
  })

  it('is never another site, nor the gateway’s own pages, whatever is written', () => {
    const heads = [
      '',
      '/',
      '//',
      '/\\',
      '\\',
      '/.',
      '/..',
      '/./',
      '/../',
      '/%2e/',
      '/%2E%2e/',
      '/.%2e/',
      '/a/../',
      '/a/%2e%2e/',
    ]
    const joints = ['', '/', '//', '\\', '/\\', '\\/', '\t', '\n/', '%2f', '%5c', '///', '/./', '/../', ';/', '/;/']
    const tails = [
      'evil.example.com',
      'evil.example.com/x?y',
      '@evil.example.com',
      '.ringfence/log-out',
      '.ringfence',
      'x',
    ]
    let led = 0
    for (const head of heads)
      for (const joint of joints)
        for (const tail of tails) {
          const wanted = head + joint + tail
          const url = landing(returnPath(wanted))
          assert.equal(url.origin, site, JSON.stringify(wanted))
          assert.ok(!/^\/\.ringfence(\/|$)/.test(url.pathname), JSON.stringify(wanted))
          if (returnPath(wanted) !== '/') led++
        }
    assert.ok(led > 200, `${led} are pages of the application`)
    for (const wanted of [
      null,
      '',
      'orders',
      'https://evil.example.com/',
      'javascript:alert(1)',
      '/a b',
      '/é',
      '/a\r\nb',
    ])
      assert.equal(returnPath(wanted), '/')
  })
})
