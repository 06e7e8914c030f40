import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;

/** Threads that compute, collect garbage, wait for each other and sleep, for ever; the file that is named is made after a while. */
public class Busy {
    static int fibonacci(int n) {
        return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
    }

    public static void main(String[] arguments) throws Exception {
        LinkedBlockingQueue<Integer> queue = new LinkedBlockingQueue<>(10);
        ConcurrentHashMap<Integer, String> map = new ConcurrentHashMap<>();
        Thread[] threads = {
            new Thread(() -> {
                for (int i = 0; ; i++) {
                    ArrayList<String> list = new ArrayList<>();
                    for (int j = 0; j < 1000; j++)
                        list.add("number " + (i * 31 + j * 17) % 1009);
                    Collections.sort(list);
                    map.put(i % 100, list.get(0));
                    put(queue, i);
                }
            }),
            new Thread(() -> {
                for (;;)
                    fibonacci(20 + take(queue) % 3);
            }),
        };
        for (Thread thread : threads)
            thread.start();
        while (map.size() < 100)
            Thread.sleep(1);
        Files.createFile(Path.of(arguments[0]));
        for (;;)
            Thread.sleep(1);
    }

    static void put(LinkedBlockingQueue<Integer> queue, int value) {
        try {
            queue.put(value);
        } catch (InterruptedException error) {
            throw new RuntimeException(error);
        }
    }

    static int take(LinkedBlockingQueue<Integer> queue) {
        try {
            return queue.take();
        } catch (InterruptedException error) {
            throw new RuntimeException(error);
        }
    }
}
