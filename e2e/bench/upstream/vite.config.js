import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  logLevel: 'warn',
  worker: { format: 'es' },
  build: { target: 'esnext', chunkSizeWarningLimit: 10_000, emptyOutDir: true },
});
