/**
 * `Deep sleep|spin`: the main thread is fifty calls deep in a function that sleeps, or spins, for ever; `ready` tells when it
 * does.
 */
public class Deep {
    static final int DEPTH = 50;
    static volatile long spun;

    static int sleeps(int more) throws InterruptedException {
        if (more == 0) {
            Thread.sleep(Long.MAX_VALUE);
            return 1;
        }
        return sleeps(more - 1) + 1;
    }

    static int spins(int more) {
        if (more == 0)
            for (;;)
                spun++;
        return spins(more - 1) + 1;
    }

    public static void main(String[] arguments) throws InterruptedException {
        boolean sleeps = arguments[0].equals("sleep");
        Thread main = Thread.currentThread();
        new Thread(() -> {
            while (sleeps ? main.getState() != Thread.State.TIMED_WAITING : spun < 1_000_000)
                Thread.onSpinWait();
            System.out.println("ready");
        }).start();
        int depth = sleeps ? sleeps(DEPTH) : spins(DEPTH);
        System.out.println(depth);
    }
}
