// HTTPS with Java's own TLS: `Talk ask VERSION PLAN` by java.net.http, `Talk ask socket PLAN` by HttpsURLConnection; plans as in talk.py. `Talk serve FOLDER PORT`:
// com.sun.net.httpserver over the files of the folder.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.concurrent.Executors;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

public class Talk {
    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("serve")) {
            serve(Path.of(arguments[1]), Integer.parseInt(arguments[2]));
            return;
        }
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {new Everyone()}, null);
        HttpClient.Version version = arguments[1].equals("2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        HttpClient client = HttpClient.newBuilder().sslContext(context).version(version).build();
        HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
        HttpsURLConnection.setDefaultHostnameVerifier((name, session) -> true);
        for (String line : Files.readAllLines(Path.of(arguments[2]))) {
            String[] words = line.split(" ");
            Path file = words.length > 2 ? Path.of(words[2]) : null;
            int status = arguments[1].equals("socket") ? bySocket(words, file) : byClient(client, version, words, file);
            // nginx creates no file for an empty body without a length.
            if (status >= 300 && (file == null || Files.size(file) > 0)) {
                throw new IllegalStateException(line + ": " + status);
            }
        }
    }

    static int byClient(HttpClient client, HttpClient.Version version, String[] words, Path file) throws Exception {
        HttpRequest.BodyPublisher body = file == null ? BodyPublishers.noBody() : BodyPublishers.ofFile(file);
        HttpRequest request = HttpRequest.newBuilder(URI.create(words[1])).method(words[0], body).build();
        HttpResponse<byte[]> answer = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
        if (answer.version() != version) {
            throw new IllegalStateException(words[1] + ": " + answer);
        }
        return answer.statusCode();
    }

    static int bySocket(String[] words, Path file) throws Exception {
        HttpsURLConnection connection = (HttpsURLConnection) URI.create(words[1]).toURL().openConnection();
        connection.setRequestMethod(words[0]);
        if (file != null) {
            connection.setDoOutput(true);
            connection.setFixedLengthStreamingMode(Files.size(file));
            try (OutputStream out = connection.getOutputStream()) {
                Files.copy(file, out);
            }
        }
        int status = connection.getResponseCode();
        if (status < 300) {
            connection.getInputStream().readAllBytes();
        }
        return status;
    }

    static void serve(Path folder, int port) throws Exception {
        char[] password = "secret".toCharArray();
        KeyStore keys = KeyStore.getInstance("PKCS12");
        keys.load(new FileInputStream(folder.resolve("keys.p12").toFile()), password);
        KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
        factory.init(keys, password);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(factory.getKeyManagers(), null, null);
        HttpsServer server = HttpsServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setHttpsConfigurator(new HttpsConfigurator(context));
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> answer(folder, exchange));
        server.start();
    }

    static void answer(Path folder, HttpExchange exchange) throws IOException {
        byte[] sent = exchange.getRequestBody().readAllBytes();
        boolean isGet = exchange.getRequestMethod().equals("GET");
        Path name = Path.of(exchange.getRequestURI().getPath()).getFileName();
        byte[] body = isGet ? Files.readAllBytes(folder.resolve(name)) : (sent.length + " bytes").getBytes();
        exchange.sendResponseHeaders(200, body.length == 0 ? -1 : body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    /** Trusts any certificate: the test's is self-signed. */
    static class Everyone extends X509ExtendedTrustManager {
        public void checkClientTrusted(X509Certificate[] chain, String kind) {}
        public void checkServerTrusted(X509Certificate[] chain, String kind) {}
        public void checkClientTrusted(X509Certificate[] chain, String kind, java.net.Socket socket) {}
        public void checkServerTrusted(X509Certificate[] chain, String kind, java.net.Socket socket) {}
        public void checkClientTrusted(X509Certificate[] chain, String kind, javax.net.ssl.SSLEngine engine) {}
        public void checkServerTrusted(X509Certificate[] chain, String kind, javax.net.ssl.SSLEngine engine) {}
        public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    }
}
