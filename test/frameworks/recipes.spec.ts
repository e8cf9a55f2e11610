/**
 * @jest-environment ./test/support/page.environment.mjs
 * @jest-environment-options {"customExportConditions": ["node", "browser"]}
 */
import '@angular/compiler';
import { Component, createComponent, provideZonelessChangeDetection } from '@angular/core';
import type { Signal } from '@angular/core';
import { createApplication } from '@angular/platform-browser';
import { describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { Observable } from 'rxjs';
import { mount, unmount } from 'svelte';
import type { Readable } from 'svelte/store';
import { createApp, h } from 'vue';
import type { Ref } from 'vue';
import { compileSvelte, recipe, Shop } from './recipe.js';
import type { Order } from './recipe.js';

const IDS = (orders: readonly Order[]) => orders.map(({ id }) => id).join();

describe("the guide's recipe", () => {
  /** Follows until there are three orders, then leaves. */
  async function expectOrders(shop: Shop, shown: () => string, leave: () => unknown): Promise<void> {
    await waitFor(() => shop.scripted.requests.length === 1);
    shop.begin();
    shop.create(2);
    shop.create(3);
    await waitFor(() => shown() === '1,2,3', { describe: () => `three orders, and not ${shown()}` });
    await leave();
    await waitFor(() => shop.stream.isCanceled);
    expect(shop.scripted.requests).toHaveLength(1);
  }

  it('for Angular renders orders from a signal, and closes the feed with its component', async () => {
    const shop = new Shop();
    const { injectOrders } = await recipe<{ injectOrders(): Signal<readonly Order[]> }>('injectOrders', shop);
    class Orders {
      readonly all = injectOrders();
      readonly ids = IDS;
    }
    Component({ selector: 'app-orders', template: '{{ ids(all()) }}' })(Orders);
    const app = await createApplication({ providers: [provideZonelessChangeDetection()] });
    const component = createComponent(Orders, { environmentInjector: app.injector });
    app.attachView(component.hostView);
    const host = component.location.nativeElement as { textContent: string };
    await expectOrders(
      shop,
      () => host.textContent,
      () => component.destroy(),
    );
    app.destroy();
  });

  it('for RxJS counts orders, and closes the feed when it is unsubscribed', async () => {
    const shop = new Shop();
    const { orderCount } = await recipe<{ orderCount: Observable<number> }>('orderCount', shop);
    let counts = '1';
    const subscription = orderCount.subscribe((count) => (counts += `,${count + 1}`));
    await expectOrders(
      shop,
      () => counts,
      () => subscription.unsubscribe(),
    );
  });

  it('for Vue renders orders, and closes the feed with its component', async () => {
    const shop = new Shop();
    const { useOrders } = await recipe<{ useOrders(): Ref<readonly Order[]> }>('useOrders()', shop);
    const host = document.createElement('main');
    const app = createApp({
      setup() {
        const all = useOrders();
        return () => h('p', IDS(all.value));
      },
    });
    app.mount(host);
    await expectOrders(
      shop,
      () => host.textContent ?? '',
      () => app.unmount(),
    );
  });

  it('for Svelte renders orders from a store, one feed for all its readers', async () => {
    const shop = new Shop();
    const { allOrders } = await recipe<{ allOrders: Readable<readonly Order[]> }>('svelte/store', shop);
    const host = document.createElement('main');
    const component = mount(await compileSvelte('{$store.map(({ id }) => id).join()}'), {
      target: host,
      props: { store: allOrders },
    });
    const other = allOrders.subscribe(() => undefined);
    await expectOrders(
      shop,
      () => host.textContent ?? '',
      () => {
        other();
        return unmount(component);
      },
    );
  });
});
